#include <trireme/core/error.h>
#include <trireme/ops/rotary.h>

#include "ops/kernels.h"

#include <algorithm>
#include <type_traits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/core.h>

namespace trireme::ops {

namespace {

constexpr int64_t grain = 32768;  // elements that make a task worth another thread

template <class T>
void turn_on_cpu(const at::Tensor& x_BTHD, const at::Tensor& y_BTHD, const at::Tensor& cosine,
                 const at::Tensor& sine, bool back) {
  using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const int64_t tokens = x_BTHD.size(1), heads = x_BTHD.size(2), half = x_BTHD.size(3) / 2;
  const T* from = x_BTHD.const_data_ptr<T>();
  T* to = y_BTHD.mutable_data_ptr<T>();
  const auto* cosines = cosine.const_data_ptr<float>();
  const auto* sines = sine.const_data_ptr<float>();
  const Real direction = back ? Real(-1) : Real(1);
  const int64_t per_task = std::max<int64_t>(1, grain / (2 * half * heads));
  at::parallel_for(0, x_BTHD.size(0) * tokens, per_task, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * heads; row < end * heads; ++row) {
      const int64_t token = row / heads % tokens;
      const T* a = from + row * 2 * half;
      T* out = to + row * 2 * half;
      for (int64_t i = 0; i < half; ++i) {
        const auto c = static_cast<Real>(cosines[token * half + i]);
        const Real s = static_cast<Real>(sines[token * half + i]) * direction;
        const auto u = static_cast<Real>(a[i]), v = static_cast<Real>(a[half + i]);
        out[i] = static_cast<T>(u * c - v * s);
        out[half + i] = static_cast<T>(v * c + u * s);
      }
    }
  });
}

at::Tensor turned(const at::Tensor& x_BTHD, const at::Tensor& cosine, const at::Tensor& sine,
                  bool back) {
  if (Kernels* const kernels = kernels_for(x_BTHD))
    return kernels->rotary(x_BTHD, cosine, sine, back);
  const at::Tensor y_BTHD = at::empty_like(x_BTHD);
  if (y_BTHD.numel() == 0) return y_BTHD;
  switch (x_BTHD.scalar_type()) {
    case at::kFloat:
      turn_on_cpu<float>(x_BTHD, y_BTHD, cosine, sine, back);
      break;
    case at::kDouble:
      turn_on_cpu<double>(x_BTHD, y_BTHD, cosine, sine, back);
      break;
    case at::kBFloat16:
      turn_on_cpu<at::BFloat16>(x_BTHD, y_BTHD, cosine, sine, back);
      break;
    case at::kHalf:
      turn_on_cpu<at::Half>(x_BTHD, y_BTHD, cosine, sine, back);
      break;
    default:
      check(false, fmt::format("rotary of {}", at::toString(x_BTHD.scalar_type())));
  }
  return y_BTHD;
}

class RotaryFunction : public torch::autograd::Function<RotaryFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x_BTHD,
                            const at::Tensor& cosine, const at::Tensor& sine) {
    context->saved_data["cosine"] = cosine;  // not save_for_backward: no activations
    context->saved_data["sine"] = sine;
    return turned(x_BTHD, cosine, sine, false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor cosine = context->saved_data["cosine"].toTensor();
    const at::Tensor sine = context->saved_data["sine"].toTensor();
    return {turned(gradients[0].contiguous(), cosine, sine, true), {}, {}};
  }
};

}  // namespace

RotaryTables rotary_tables(double base, int64_t head_size, int64_t tokens) {
  check(base > 0 && head_size > 0 && head_size % 2 == 0 && tokens >= 0,
        "rotary tables are for heads of an even size");
  const auto doubles = at::TensorOptions(at::kDouble);
  const at::Tensor exponents =
      at::arange(head_size / 2, doubles) * (-2.0 / static_cast<double>(head_size));
  const at::Tensor angles = at::outer(at::arange(tokens, doubles), at::pow(base, exponents));
  return {angles.cos().to(at::kFloat), angles.sin().to(at::kFloat)};
}

at::Tensor rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine, const at::Tensor& sine) {
  check(x_BTHD.dim() == 4 && x_BTHD.size(3) > 0 && x_BTHD.size(3) % 2 == 0,
        "rotary takes x [B, T, H, D], D even");
  check(cosine.dim() == 2 && cosine.sizes() == sine.sizes() && cosine.size(0) >= x_BTHD.size(1) &&
            cosine.size(1) == x_BTHD.size(3) / 2 && cosine.scalar_type() == at::kFloat &&
            sine.scalar_type() == at::kFloat && !cosine.requires_grad() && !sine.requires_grad(),
        "rotary takes float32 tables [T or more, D/2]");
  const int64_t tokens = x_BTHD.size(1);
  return RotaryFunction::apply(x_BTHD.contiguous(), cosine.narrow(0, 0, tokens).contiguous(),
                               sine.narrow(0, 0, tokens).contiguous());
}

}  // namespace trireme::ops
