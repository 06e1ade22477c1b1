#include <trireme/autograd/backward.h>
#include <trireme/core/error.h>
#include <trireme/debug/gradient_check.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

double precision_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kBFloat16:
      return 0x1.0p-7;
    case at::kHalf:
      return 0x1.0p-10;
    default:
      return static_cast<double>(std::numeric_limits<float>::epsilon());
  }
}

/// Takes the gradients of the parameters aside while it lives.
class GradientsAside {
 public:
  explicit GradientsAside(const core::ParameterSet& parameters) : parameters_(parameters) {
    for (const core::Parameter& p : parameters_) {
      kept_.push_back(p.tensor.grad());
      p.tensor.mutable_grad() = at::Tensor();
    }
  }
  ~GradientsAside() {
    for (size_t i = 0; i < kept_.size(); ++i) parameters_[i].tensor.mutable_grad() = kept_[i];
  }
  GradientsAside(const GradientsAside&) = delete;
  GradientsAside& operator=(const GradientsAside&) = delete;

 private:
  const core::ParameterSet& parameters_;
  std::vector<at::Tensor> kept_;
};

/// An element of a parameter that gets its value back.
class Element {
 public:
  Element(const at::Tensor& parameter, int64_t index)
      : element_(parameter.detach().view({-1}).select(0, index)),
        value_(element_.item<double>()),
        kept_(element_.clone()) {}
  ~Element() { element_.copy_(kept_); }
  Element(const Element&) = delete;
  Element& operator=(const Element&) = delete;

  [[nodiscard]] double value() const { return value_; }
  /// What it is then, rounded.
  double set(double value) {
    element_.fill_(value);
    return element_.item<double>();
  }

 private:
  at::Tensor element_;
  double value_;
  at::Tensor kept_;
};

std::vector<int64_t> drawn(int64_t of, int64_t count, const core::RandomKey& random) {
  std::set<int64_t> all;
  if (count >= of)
    for (int64_t i = 0; i < of; ++i) all.insert(i);
  else
    for (uint64_t draw = 0; static_cast<int64_t>(all.size()) < count; ++draw)
      all.insert(static_cast<int64_t>(random.below(static_cast<uint64_t>(of), draw)));
  return {all.begin(), all.end()};
}

class Check {
 public:
  Check(const std::function<at::Tensor()>& loss, const GradientCheckOptions& options)
      : loss_(loss), options_(options) {}

  void run_backward() {
    const at::AutoGradMode with_graph(true);
    const at::Tensor loss = loss_();
    check(loss.dim() == 0, "a gradient check needs a 0-dim loss");
    at_ = loss.item<double>();
    loss_precision_ = precision_of(loss.scalar_type());
    autograd::backward(loss);
    const double again = value();
    if (!std::isfinite(at_) || again != at_)
      throw Error(
          ErrorKind::plugin_failed,
          fmt::format(
              "the loss cannot be differentiated numerically: two calls gave {:.17g} and {:.17g}",
              at_, again),
          "the loss must be finite and a function of the parameters alone: fix inputs and random "
          "numbers, switch "
          "dropout off");
  }

  [[nodiscard]] ParameterCheck of(const core::Parameter& parameter) const {
    const at::NoGradGuard no_grad;
    ParameterCheck result{.parameter = parameter.name};
    const at::Tensor& tensor = parameter.tensor;
    const at::Tensor gradient =
        tensor.grad().defined()
            ? tensor.grad().to_dense().to(at::kCPU, at::kDouble).contiguous().view({-1})
            : at::zeros({tensor.numel()}, at::kDouble);
    const double precision = std::max(precision_of(tensor.scalar_type()), loss_precision_);
    const double relative = options_.step > 0 ? options_.step : std::cbrt(precision);
    for (const int64_t index :
         drawn(tensor.numel(), options_.elements, options_.random.fold(parameter.name))) {
      Element element(tensor, index);
      const double half = relative * std::max(1.0, std::abs(element.value()));
      const double above_at = element.set(element.value() + half), above = value();
      const double below_at = element.set(element.value() - half), below = value();
      const double distance = above_at - below_at;
      const double differences = (above - below) / distance;
      const double expected = gradient.const_data_ptr<double>()[index];
      // What rounding of the two losses can make of the difference.
      const double noise = 8 * precision * std::max(std::abs(above), std::abs(below)) / distance;
      const double size = std::max(std::abs(expected), std::abs(differences));
      double error = size > 0 ? std::max(0.0, std::abs(expected - differences) - noise) / size : 0;
      if (!std::isfinite(expected) || !std::isfinite(differences))
        error = std::numeric_limits<double>::infinity();
      ++result.checked;
      if (result.element >= 0 && error <= result.error) continue;
      result.element = index;
      result.by_backward = expected;
      result.by_differences = differences;
      result.error = error;
    }
    return result;
  }

 private:
  [[nodiscard]] double value() const { return loss_().item<double>(); }

  const std::function<at::Tensor()>& loss_;
  const GradientCheckOptions& options_;
  double at_ = 0;
  double loss_precision_ = 0;
};

}  // namespace

bool GradientCheck::passed() const {
  return std::ranges::all_of(parameters,
                             [&](const ParameterCheck& p) { return p.error <= tolerance; });
}

std::string GradientCheck::text() const {
  if (parameters.empty()) return "no parameter was checked";
  int64_t elements = 0;
  for (const ParameterCheck& p : parameters) elements += p.checked;
  const ParameterCheck& p = parameters[worst];
  return fmt::format(
      "gradients of {} elements of {} parameters {}: worst is element {} of '{}', {:.10g} by "
      "backward and "
      "{:.10g} by differences (relative error {:.2g})",
      elements, parameters.size(), passed() ? "are right" : "are WRONG", p.element, p.parameter,
      p.by_backward, p.by_differences, p.error);
}

GradientCheck check_gradients(const std::function<at::Tensor()>& loss,
                              const core::ParameterSet& parameters,
                              const GradientCheckOptions& options) {
  GradientCheck result;
  result.tolerance = options.tolerance;
  const GradientsAside aside(parameters);
  Check one(loss, options);
  one.run_backward();
  for (const core::Parameter& p : parameters) {
    if (!p.tensor.requires_grad() || p.tensor.numel() == 0) continue;
    result.parameters.push_back(one.of(p));
    if (result.parameters.back().error > result.parameters[result.worst].error)
      result.worst = result.parameters.size() - 1;
  }
  return result;
}

}  // namespace trireme::debug
