#pragma once

#include <trireme/model/model.h>

#include "model/settings.h"

#include <string>
#include <vector>

namespace trireme::provoked {

/// Whether TRIREME_FAULT has this site act out something here and now: SITE:RANK:STEP:nan.
[[nodiscard]] bool wanted(const std::string& site);

/// A small network of units `first`, `middle`, ... (tanh(x w + b)) and `last` (the logits), which
/// goes wrong at the sites
///   UNIT.nan        its output is NaN
///   UNIT.dead       its output is 0
///   UNIT.huge       its output is a million times what it should be
///   UNIT.root       its output is right, but an operation in it has an infinite derivative
///   UNIT.faint      what it hands on of the gradient is 1e-9 of what it should be
///   UNIT.loud       ... is 1e9 times what it should be
///   UNIT.elsewhere  its input lies on the CPU
///   UNIT.keeps      it keeps 64 KiB of each call for ever
///   UNIT.costly     it computes with an operation that nothing else has
///   UNIT.lookup     it leaves spans of a user's, in a section that keeps 64 KiB of each call
///   score.high      the metric `score` is 5 instead of 1
class Classifier final : public model::Model {
 public:
  explicit Classifier(const model::MlpSettings& settings);

  model::LossSums loss(const core::Batch& batch) override;
  [[nodiscard]] std::vector<autograd::Unit*> units() override;
  [[nodiscard]] double nominal_weight_per_sample() const override { return 1.0; }

 private:
  std::vector<autograd::Unit> units_;
};

}  // namespace trireme::provoked
