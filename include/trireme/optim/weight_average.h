#pragma once

#include <trireme/core/parameters.h>
#include <trireme/core/state.h>
#include <trireme/optim/optimizer.h>

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::optim {

struct EmaConfig {
  std::optional<double> decay;
  int64_t every_steps = 1;
  bool warmup = true;
  bool evaluate = true;

  template <class B>
  void bind(B& b) {
    b.key("decay", decay)
        .doc(
            "keep an exponential moving average of the weights with this decay, e.g. 0.999; null: "
            "none")
        .at_least(0.0)
        .below(1.0);
    b.key("every_steps", every_steps)
        .doc("steps between two updates of the average; the decay is that of one update")
        .unit("steps")
        .at_least(1);
    b.key("warmup", warmup)
        .doc(
            "let the decay grow as (1 + t) / (10 + t) with the updates t, up to decay: the first "
            "weights are forgotten soon");
    b.key("evaluate", evaluate).doc("evaluations use the average instead of the weights");
  }
};

/// An exponential moving average of the weights, in float32: average += (1 - decay) * (weight -
/// average). Taken from the float32 masters where there are some. An update that the optimizer left
/// out changes nothing here either; the host does not wait. State: `ema/<p>`.
class WeightAverage final : public core::Stateful {
 public:
  /// Starts from the weights as they are. `decay` must be set.
  WeightAverage(const EmaConfig& config, const core::ParameterSet& parameters,
                const Optimizer& optimizer);

  /// After optimizer step number `step` (from 1); `nonfinite` as in StepInputs.
  void update(int64_t step, const at::Tensor& nonfinite);

  /// The parameters hold the average while this lives. Nothing may train meanwhile.
  class Scope {
   public:
    explicit Scope(WeightAverage& average);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    WeightAverage& average_;
    std::vector<at::Tensor> weights_;
  };

  [[nodiscard]] const std::vector<at::Tensor>& values() const { return average_; }

  void save_state(core::StateWriter& out) const override;
  /// A checkpoint that has no average: it starts from the weights that were loaded before.
  void load_state(const core::StateReader& in) override;

 private:
  EmaConfig config_;
  core::ParameterSet parameters_;
  const Optimizer& optimizer_;
  std::vector<at::Tensor> average_;
};

}  // namespace trireme::optim
