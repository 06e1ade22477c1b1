#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <trireme/core/parameters.h>
#include <trireme/core/random.h>
#include <trireme/autograd/saved_tensors.h>

#include <ATen/core/Tensor.h>

namespace trireme::telemetry {
class Recorder;
}

namespace trireme::autograd {

/// Where and how a unit's parameters are made. `random` is the key of the whole model; initialisation folds in the
/// parameter's full name, so its values do not depend on order, sharding, or what else the model holds. Values are drawn on
/// the CPU in float32 and then converted, so they do not depend on device or dtype either. On the device `meta` nothing is
/// allocated or drawn: shapes and counts only.
struct BuildContext {
  at::Device device = at::Device(at::kCPU);
  at::ScalarType dtype = at::kFloat;
  core::RandomKey random;
  /// Matrix products of blocks take 8-bit operands (ops::linear_fp8), where the model can.
  bool fp8 = false;
  /// Where blocks leave spans of their own (telemetry::Span); null: nowhere. Outlives the model.
  telemetry::Recorder* recorder = nullptr;
  /// Name of the unit that is being built; set by Unit::build.
  std::string scope = {};
};

/// What a unit contains: parameters, buffers and a forward. Derive from it for a block of a model. Built by a
/// factory, possibly more than once, always with the same names and shapes.
class Block {
 public:
  virtual ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Inputs and outputs are the unit's; called on the device of the parameters.
  virtual std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) = 0;

  [[nodiscard]] const core::ParameterSet& parameters() const { return parameters_; }
  [[nodiscard]] const core::ParameterSet& buffers() const { return buffers_; }
  [[nodiscard]] bool training() const { return training_; }
  void set_training(bool on) { training_ = on; }

 protected:
  explicit Block(const BuildContext& context) : context_(context) {}

  // Each returns a leaf that requires grad; `name` is relative to the unit. Normal and uniform draws are keyed by
  // (context.random, full name) where the full name is the unit's, a dot, and `name`.
  at::Tensor parameter_normal(const std::string& name, at::IntArrayRef shape, double mean, double stddev);
  at::Tensor parameter_uniform(const std::string& name, at::IntArrayRef shape, double low, double high);
  at::Tensor parameter_constant(const std::string& name, at::IntArrayRef shape, double value);
  at::Tensor buffer_constant(const std::string& name, at::IntArrayRef shape, double value);

  [[nodiscard]] const BuildContext& context() const { return context_; }

 private:
  [[nodiscard]] std::string full_name(const std::string& name) const;
  at::Tensor draw(const std::string& name, at::IntArrayRef shape, bool normal, double a, double b);
  at::Tensor add_parameter(const std::string& name, at::Tensor values);
  BuildContext context_;
  core::ParameterSet parameters_;
  core::ParameterSet buffers_;
  bool training_ = true;
};

class Unit;

/// Takes part in the life of units, e.g. to gather their parameters before they are used. Called on the threads of forward
/// and backward, in the same order on all ranks as long as the ranks compute the same graph. What it throws reaches the
/// caller of forward or backward.
class UnitAttendant {
 public:
  virtual ~UnitAttendant();
  /// Around each call of the unit.
  virtual void before_forward(Unit& unit) = 0;
  virtual void after_forward(Unit& unit) = 0;
  /// Around the backward of each call: before the first of its operations, and once all of them have run and the gradients of
  /// the parameters were accumulated (a parameter that other calls use as well has its gradient only after the last of
  /// them). The end is not told of a call none of whose inputs needs a gradient.
  virtual void before_backward(Unit& unit) = 0;
  virtual void after_backward(Unit& unit) = 0;

  // The tensors of each call, for who looks at them: read only, and not to be kept beyond the step. In forward gradient mode
  // and autocast are the unit's. Each comes inside of the pass of this attendant: the first after its before_forward, the
  // second before its after_forward, the third after its before_backward.
  virtual void saw_inputs(Unit&, const std::vector<at::Tensor>& /*inputs*/) {}
  virtual void saw_outputs(Unit&, const std::vector<at::Tensor>& /*outputs*/) {}
  /// The whole gradient that arrives for an output, which need not be dense; not told for outputs that have no part in the loss.
  virtual void saw_output_gradient(Unit&, size_t /*output*/, const at::Tensor& /*gradient*/) {}
};

/// A named part of a model at which the framework acts: it decides when the block is built, times it, and (as strategies need)
/// shards, gathers, recomputes or offloads it. Call it with tensors, it returns tensors. Units are called in the same
/// order on all ranks and steps.
class Unit {
 public:
  using Factory = std::function<std::unique_ptr<Block>(const BuildContext&)>;
  Unit(std::string name, Factory factory);
  ~Unit();
  Unit(Unit&&) noexcept;
  Unit& operator=(Unit&&) noexcept;

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Builds the block, again if it was built; `context.random` is the model's key.
  void build(const BuildContext& context);
  [[nodiscard]] bool built() const { return block_ != nullptr; }

  /// Attendants come in their order before a pass and in the reverse order after it. They must outlive the backwards of the
  /// calls that they attended; while there is one, the unit must not be moved.
  void add_attendant(UnitAttendant& attendant);
  /// From the next call on.
  void remove_attendant(UnitAttendant& attendant);

  /// How the unit's activations are kept until backward.
  struct Activations {
    enum class Recompute { none, cheap_parts, all };  ///< see autograd::cheap_part, recomputed
    Recompute recompute = Recompute::none;
    SavedTensorProvider* storage = nullptr;  ///< what is kept is kept here; must outlive backward
  };
  void set_activations(const Activations& activations) { activations_ = activations; }
  [[nodiscard]] const Activations& activations() const { return activations_; }

  std::vector<at::Tensor> operator()(const std::vector<at::Tensor>& inputs);
  /// For the common case of one input and one output.
  at::Tensor operator()(const at::Tensor& input);

  /// Full names: the unit's, a dot, the block's. An empty unit name adds nothing.
  [[nodiscard]] core::ParameterSet parameters() const;
  [[nodiscard]] core::ParameterSet buffers() const;
  void set_training(bool on);
  [[nodiscard]] Block& block();

 private:
  std::string name_;
  Factory factory_;
  std::unique_ptr<Block> block_;
  [[nodiscard]] std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs);
  std::vector<UnitAttendant*> attendants_;
  Activations activations_;
  bool training_ = true;
};

}  // namespace trireme::autograd
