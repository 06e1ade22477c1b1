#pragma once

#include <trireme/model/model.h>

#include "model/settings.h"

#include <vector>

namespace trireme::model {

/// Fields `image` [B, C, H, W] (or [B, H, W]; bytes become [0, 1]) and `label` [B]. Parameters
/// blocks.N.conv.weight, blocks.N.norm.weight and .bias, head.weight and .bias.
class ConvNet final : public Model {
 public:
  explicit ConvNet(const ConvNetSettings& settings);

  LossSums loss(const core::Batch& batch) override;
  [[nodiscard]] std::vector<autograd::Unit*> units() override;
  [[nodiscard]] double nominal_weight_per_sample() const override { return 1.0; }
  [[nodiscard]] double flops_per_sample(int64_t tokens) const override;
  void check_batch(const core::Batch& batch) const override;
  [[nodiscard]] bool repeatable() const override { return true; }
  void check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const override;

 private:
  ConvNetSettings settings_;
  std::vector<autograd::Unit> blocks_;
  std::vector<autograd::Unit> head_;  // one
};

}  // namespace trireme::model
