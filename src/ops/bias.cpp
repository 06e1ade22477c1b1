#include <trireme/core/error.h>
#include <trireme/ops/bias.h>

#include "ops/kernels.h"

#include <algorithm>
#include <cstdint>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

class AddBiasFunction : public torch::autograd::Function<AddBiasFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& residual,
                            const at::Tensor& x, const at::Tensor& bias_C) {
    context->saved_data["bias_type"] = bias_C.scalar_type();
    if (Kernels* const kernels = kernels_for(x)) return kernels->add_bias(residual, x, bias_C);
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

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor& dy = gradients[0];
    const at::Tensor dy_NC = dy.reshape({-1, dy.size(-1)});
    const auto type = context->saved_data["bias_type"].toScalarType();
    Kernels* const kernels = kernels_for(dy);
    return {dy, dy, kernels == nullptr ? dy_NC.sum(0) : kernels->column_sums(dy_NC.contiguous(), type)};
  }
};

}  // namespace

at::Tensor add_bias(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& bias_C) {
  check(residual.sizes() == x.sizes() && bias_C.dim() == 1 && bias_C.numel() > 0 &&
            x.dim() > 0 && x.size(-1) == bias_C.numel(),
        "add_bias takes two tensors of one shape, and a bias of their last dimension");
  const auto type = at::result_type(residual, x);
  const bool served = type != at::kDouble && bias_C.scalar_type() != at::kDouble && kernels_for(x) != nullptr;
  const auto is_float = [](const at::Tensor& t) {
    return t.scalar_type() == at::kFloat;
  };
  if (!served && !(is_float(residual) && is_float(x) && is_float(bias_C)))
    return residual + (x + bias_C.to(x.scalar_type()));
  return AddBiasFunction::apply(residual.to(type).contiguous(), x.contiguous(), bias_C.contiguous());
}

}  // namespace trireme::ops
