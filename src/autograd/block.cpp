#include <trireme/autograd/unit.h>
#include <trireme/core/error.h>

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace trireme::autograd {

Block::~Block() = default;

std::string Block::full_name(const std::string& name) const {
  return context_.scope.empty() ? name : context_.scope + "." + name;
}

at::Tensor Block::draw(const std::string& name, at::IntArrayRef shape, bool normal, double a,
                       double b) {
  if (context_.device.is_meta()) return parameter_constant(name, shape, 0.0);
  at::NoGradGuard no_grad;
  // A generator of its own: the values depend on nothing but the key and the name.
  auto generator =
      at::make_generator<at::CPUGeneratorImpl>(context_.random.fold(full_name(name)).value());
  at::Tensor values = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
  normal ? values.normal_(a, b, generator) : values.uniform_(a, b, generator);
  return add_parameter(name, values.to(context_.device, context_.dtype));
}

at::Tensor Block::parameter_normal(const std::string& name, at::IntArrayRef shape, double mean,
                                   double stddev) {
  return draw(name, shape, true, mean, stddev);
}

at::Tensor Block::parameter_uniform(const std::string& name, at::IntArrayRef shape, double low,
                                    double high) {
  return draw(name, shape, false, low, high);
}

at::Tensor Block::parameter_constant(const std::string& name, at::IntArrayRef shape, double value) {
  return add_parameter(
      name,
      at::full(shape, value, at::TensorOptions().dtype(context_.dtype).device(context_.device)));
}

at::Tensor Block::buffer_constant(const std::string& name, at::IntArrayRef shape, double value) {
  at::Tensor values =
      at::full(shape, value, at::TensorOptions().dtype(context_.dtype).device(context_.device));
  buffers_.push_back({name, values});
  return values;
}

at::Tensor Block::add_parameter(const std::string& name, at::Tensor values) {
  const bool known = std::any_of(parameters_.begin(), parameters_.end(),
                                 [&](const core::Parameter& p) { return p.name == name; });
  check(!known, "two parameters of a block are called " + full_name(name));
  values.requires_grad_(true);
  parameters_.push_back({name, values});
  return values;
}

}  // namespace trireme::autograd
