#include <trireme/autograd/recompute.h>
#include <trireme/autograd/unit.h>
#include <trireme/core/error.h>

#include <memory>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

namespace trireme::autograd {

namespace {

core::ParameterSet with_prefix(const std::string& unit, core::ParameterSet set) {
  if (unit.empty()) return set;
  for (core::Parameter& p : set) p.name = unit + "." + p.name;
  return set;
}

// One call of a unit in the graph. Its inputs pass through aliases, whose backward comes after that
// of everything the unit made of them: the engine runs what is ready in the reverse order of
// creation.
class AttendedCall {
 public:
  AttendedCall(Unit& unit, std::vector<UnitAttendant*> attendants)
      : unit_(unit), attendants_(std::move(attendants)) {}

  void begin_forward(const std::vector<at::Tensor>& inputs) {
    for (UnitAttendant* const one : attendants_) {
      one->before_forward(unit_);
      one->saw_inputs(unit_, inputs);
    }
  }
  void end_forward(const std::vector<at::Tensor>& outputs) {
    for (auto one = attendants_.rbegin(); one != attendants_.rend(); ++one) {
      (*one)->saw_outputs(unit_, outputs);
      (*one)->after_forward(unit_);
    }
  }

  void begin_backward() {
    if (std::exchange(begun_, true)) return;
    for (UnitAttendant* const one : attendants_) one->before_backward(unit_);
  }
  void see_output_gradient(size_t output, const at::Tensor& gradient) {
    begin_backward();
    if (!gradient.defined()) return;
    for (UnitAttendant* const one : attendants_) one->saw_output_gradient(unit_, output, gradient);
  }
  void end_backward() {
    if (std::exchange(ended_, true)) return;
    begin_backward();  // an input that is passed on comes here first
    for (auto one = attendants_.rbegin(); one != attendants_.rend(); ++one)
      (*one)->after_backward(unit_);
  }

 private:
  Unit& unit_;
  std::vector<UnitAttendant*> attendants_;
  bool begun_ = false, ended_ = false;
};

bool in_graph(const at::Tensor& tensor) {
  return tensor.defined() && tensor.requires_grad();
}

}  // namespace

UnitAttendant::~UnitAttendant() = default;

Unit::Unit(std::string name, Factory factory)
    : name_(std::move(name)), factory_(std::move(factory)) {}
Unit::~Unit() = default;
Unit::Unit(Unit&&) noexcept = default;
Unit& Unit::operator=(Unit&&) noexcept = default;

void Unit::build(const BuildContext& context) {
  BuildContext own = context;
  own.scope = name_;
  block_ = factory_(own);
  check(block_ != nullptr, "the factory of unit " + name_ + " returned nothing");
  block_->set_training(training_);
}

std::vector<at::Tensor> Unit::forward(const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return block().forward(inputs);
  std::optional<SavedTensorScope> scope;
  if (activations_.storage != nullptr) scope.emplace(*activations_.storage);
  using Recompute = Activations::Recompute;
  const SelectiveScope selective(activations_.recompute == Recompute::cheap_parts);
  if (activations_.recompute != Recompute::all) return block().forward(inputs);
  return recomputed(
      name_, [this](const std::vector<at::Tensor>& again) { return block().forward(again); },
      inputs);
}

std::vector<at::Tensor> Unit::operator()(const std::vector<at::Tensor>& inputs) {
  if (attendants_.empty()) return forward(inputs);
  const auto call = std::make_shared<AttendedCall>(*this, attendants_);
  call->begin_forward(inputs);
  std::vector<at::Tensor> seen = inputs;
  if (at::GradMode::is_enabled())
    for (at::Tensor& input : seen)
      if (in_graph(input)) {
        input = at::alias(input);
        input.register_hook([call](const at::Tensor&) { call->end_backward(); });
      }
  std::vector<at::Tensor> outputs = forward(seen);
  call->end_forward(outputs);
  for (size_t i = 0; i < outputs.size(); ++i)
    if (in_graph(outputs[i]))
      outputs[i].register_hook(
          [call, i](const at::Tensor& gradient) { call->see_output_gradient(i, gradient); });
  return outputs;
}

at::Tensor Unit::operator()(const at::Tensor& input) {
  std::vector<at::Tensor> outputs = (*this)(std::vector<at::Tensor>{input});
  check(outputs.size() == 1, "unit " + name_ + " does not return exactly one tensor");
  return std::move(outputs.front());
}

core::ParameterSet Unit::parameters() const {
  check(built(), "unit " + name_ + " is not built");
  return with_prefix(name_, block_->parameters());
}

core::ParameterSet Unit::buffers() const {
  check(built(), "unit " + name_ + " is not built");
  return with_prefix(name_, block_->buffers());
}

void Unit::add_attendant(UnitAttendant& attendant) {
  attendants_.push_back(&attendant);
}

void Unit::remove_attendant(UnitAttendant& attendant) {
  std::erase(attendants_, &attendant);
}

void Unit::set_training(bool on) {
  training_ = on;
  if (block_) block_->set_training(on);
}

Block& Unit::block() {
  check(built(), "unit " + name_ + " is not built");
  return *block_;
}

}  // namespace trireme::autograd
