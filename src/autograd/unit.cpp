#include <trireme/autograd/unit.h>
#include <trireme/core/error.h>

#include <utility>

namespace trireme::autograd {

namespace {

core::ParameterSet with_prefix(const std::string& unit, core::ParameterSet set) {
  if (unit.empty()) return set;
  for (core::Parameter& p : set) p.name = unit + "." + p.name;
  return set;
}

}  // namespace

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

// What a strategy does before and after a unit (gather, free, recompute, time) belongs around the
// one call below.
std::vector<at::Tensor> Unit::operator()(const std::vector<at::Tensor>& inputs) {
  return block().forward(inputs);
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

void Unit::set_training(bool on) {
  training_ = on;
  if (block_) block_->set_training(on);
}

Block& Unit::block() {
  check(built(), "unit " + name_ + " is not built");
  return *block_;
}

}  // namespace trireme::autograd
