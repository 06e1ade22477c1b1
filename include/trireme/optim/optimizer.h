#pragma once

#include <trireme/core/parameters.h>
#include <trireme/core/state.h>
#include <trireme/optim/config.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::optim {

struct StepInputs {
  double lr = 0.0;
  /// 0-dim float32 on the device that gradients are multiplied by: weights, clipping and 1 / loss
  /// scale in one. Undefined: 1.
  at::Tensor gradient_scale;
  /// 0-dim float32 on the device: other than 0, parameters and state stay as they are to the bit.
  /// Undefined: 0.
  at::Tensor nonfinite;
  /// 0-dim float64 on the device of the parameters, for steps that are recorded into a graph: `lr`
  /// when it is replayed. Undefined: `lr`. Parameters on CPUs take `lr` in any case.
  at::Tensor device_lr;
};

/// Updates parameters from their gradients. The gradients are float32, laid out like their
/// parameters (see parallel::GradientReducer), also for bfloat16 and float16 parameters, which have
/// float32 masters here unless optim.masters is false. State: `master/<p>`, `optim/<slot>/<p>`, and
/// the scalar `optim/steps`.
class Optimizer : public core::Stateful {
 public:
  /// One update; clears the gradients, also where the update is skipped. The host does not wait for
  /// the device.
  virtual void step(const StepInputs& inputs) = 0;
  /// Call after parameters were changed by others (weights loaded, broadcast): takes the masters
  /// from them again.
  virtual void parameters_changed() = 0;
  /// The most precise values there are of each of these parameters: the float32 master, or the
  /// parameter itself.
  [[nodiscard]] virtual std::vector<at::Tensor> precise(
      const core::ParameterSet& parameters) const = 0;
  /// 0-dim int64 on the device: the updates made, without the skipped ones.
  [[nodiscard]] virtual const at::Tensor& steps() const = 0;
};

/// What the rule keeps of every trained element, in the type that optim.state says: the <slot>s
/// above.
[[nodiscard]] std::vector<std::string> slot_names(const OptimConfig& config);

/// Of slots and master together, for one trained element of a parameter of this type.
[[nodiscard]] int64_t state_bytes_per_element(const OptimConfig& config, at::ScalarType parameter);

/// Adds up one-dimensional float64 numbers, in place, over the ranks that hold fragments of the
/// same parameters: on the device of the parameters.
using AddOverShards = std::function<void(const at::Tensor&)>;

/// An optimizer for all parameters that the configuration does not freeze. Where they are
/// fragments, rules that need norms of whole parameters (lamb) add them up; all ranks step together
/// then. Error `configuration` for impossible settings, `environment` for parameters on a device
/// that nothing is loaded for.
[[nodiscard]] std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config,
                                                        const core::ParameterSet& parameters,
                                                        AddOverShards add_over_shards = {});

}  // namespace trireme::optim
