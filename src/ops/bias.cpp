#include <trireme/core/error.h>
#include <trireme/ops/bias.h>

#include <algorithm>
#include <cstdint>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

class AddBiasFunction : public torch::autograd::Function<AddBiasFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& residual,
                            const at::Tensor& x, const at::Tensor& bias_C) {
    const int64_t columns = bias_C.numel();
    const at::Tensor y = at::empty_like(x);
    const auto* from = x.const_data_ptr<float>();
    const auto* base = residual.const_data_ptr<float>();
    const auto* bias = bias_C.const_data_ptr<float>();
    auto* to = y.mutable_data_ptr<float>();
    at::parallel_for(0, x.numel() / columns, std::max<int64_t>(1, 32768 / columns),
                     [&](int64_t begin, int64_t end) {
                       for (int64_t i = begin * columns; i < end * columns; i += columns)
                         for (int64_t j = 0; j < columns; ++j)
                           to[i + j] = base[i + j] + (from[i + j] + bias[j]);
                     });
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor& dy = gradients[0];
    return {dy, dy, dy.reshape({-1, dy.size(-1)}).sum(0)};
  }
};

}  // namespace

at::Tensor add_bias(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& bias_C) {
  check(x.is_cpu() && residual.sizes() == x.sizes() && bias_C.dim() == 1 && bias_C.numel() > 0 &&
            x.dim() > 0 && x.size(-1) == bias_C.numel(),
        "add_bias takes two tensors of one shape on the CPU, and a bias of their last dimension");
  const auto is_float = [](const at::Tensor& t) {
    return t.scalar_type() == at::kFloat;
  };
  if (!is_float(residual) || !is_float(x) || !is_float(bias_C))
    return residual + (x + bias_C.to(x.scalar_type()));
  return AddBiasFunction::apply(residual.contiguous(), x.contiguous(), bias_C.contiguous());
}

}  // namespace trireme::ops
