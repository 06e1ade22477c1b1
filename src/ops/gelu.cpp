#include <trireme/core/error.h>
#include <trireme/ops/gelu.h>

#include "ops/gelu_kernel.h"
#include "ops/kernels.h"
#include "ops/simd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/core.h>

namespace trireme::ops {

namespace {

constexpr int64_t grain = 32768;  // elements that make a task worth another thread

// f(begin, end, null pointer to the element type) on parts of n elements.
template <class F>
void in_parts(at::ScalarType type, int64_t n, F&& f) {
  const auto run = [&]<class T>(T* none) {
    at::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) { f(begin, end, none); });
  };
  switch (type) {
    case at::kFloat:
      return run(static_cast<float*>(nullptr));
    case at::kBFloat16:
      return run(static_cast<at::BFloat16*>(nullptr));
    case at::kHalf:
      return run(static_cast<at::Half*>(nullptr));
    default:
      check(false, fmt::format("gelu_tanh of {}", at::toString(type)));
  }
}

class GeluFunction : public torch::autograd::Function<GeluFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    if (Kernels* const kernels = kernels_for(x)) return kernels->gelu(x);
    const at::Tensor y = at::empty_like(x);
    in_parts(x.scalar_type(), x.numel(), [&]<class T>(int64_t begin, int64_t end, T*) {
      GeluKernel<T>::forward(x.const_data_ptr<T>() + begin, y.mutable_data_ptr<T>() + begin,
                             end - begin, simd::has_avx512());
    });
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor x = context->get_saved_variables()[0].contiguous();
    const at::Tensor dy = gradients[0].contiguous();
    if (Kernels* const kernels = kernels_for(x)) return {kernels->gelu_backward(x, dy)};
    const at::Tensor dx = at::empty_like(x);
    in_parts(x.scalar_type(), x.numel(), [&]<class T>(int64_t begin, int64_t end, T*) {
      GeluKernel<T>::backward(x.const_data_ptr<T>() + begin, dy.const_data_ptr<T>() + begin,
                              dx.mutable_data_ptr<T>() + begin, end - begin, simd::has_avx512());
    });
    return {dx};
  }
};

}  // namespace

at::Tensor gelu_tanh(const at::Tensor& x) {
  if (x.scalar_type() == at::kDouble) return at::gelu(x, "tanh");
  return GeluFunction::apply(x.contiguous());
}

}  // namespace trireme::ops
