#pragma once

#include <trireme/model/model.h>

#include "model/settings.h"

#include <vector>

namespace trireme::model {

/// Field `features` [B, F] or `image` [B, ...], flattened to `inputs` values a sample; `label` [B].
/// Parameters layers.N.weight and layers.N.bias, the last of which gives the logits.
class Mlp final : public Model {
 public:
  explicit Mlp(const MlpSettings& settings);

  LossSums loss(const core::Batch& batch) override;
  [[nodiscard]] std::vector<autograd::Unit*> units() override;
  [[nodiscard]] double nominal_weight_per_sample() const override { return 1.0; }
  [[nodiscard]] double flops_per_sample(int64_t tokens) const override;
  void check_batch(const core::Batch& batch) const override;
  [[nodiscard]] bool repeatable() const override { return true; }
  void check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const override;

 private:
  MlpSettings settings_;
  std::vector<autograd::Unit> layers_;
};

}  // namespace trireme::model
