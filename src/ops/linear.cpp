#include <trireme/ops/linear.h>

#include <trireme/core/error.h>
#include <trireme/ops/gelu.h>

#include "ops/kernels.h"

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool is_transposed(WeightLayout layout) { return layout == WeightLayout::out_in; }
int64_t outputs(const at::Tensor& weight, bool transposed) { return weight.size(transposed ? 0 : 1); }

at::Tensor as_rows(const at::Tensor& x) { return x.dim() == 2 ? x : x.reshape({x.numel() / x.size(-1), x.size(-1)}); }
at::Tensor shaped_like(const at::Tensor& y_NO, const at::Tensor& x) {
  if (x.dim() == 2) return y_NO;
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = y_NO.size(1);
  return y_NO.view(sizes);
}

/// Kernels see addresses only: dense tensors of one type, which under autocast is that of autocast.
at::Tensor operand(const at::Tensor& t, const at::Tensor& x) {
  if (!t.defined()) return t;
  const at::DeviceType device = x.device().type();
  if (!at::autocast::is_autocast_enabled(device)) return t.scalar_type() == x.scalar_type() ? t : t.to(x.scalar_type());
  return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), t, device);
}

Kernels* kernels_of(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? nullptr : kernels_for(x); }

class LinearFunction : public Function<LinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_NI, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias_O, bool transposed) {
    context->save_for_backward({x_NI, weight});
    context->saved_data["transposed"] = transposed;
    context->saved_data["biased"] = bias_O.has_value();
    return kernels_for(x_NI)->linear(x_NI, weight, transposed, bias_O.value_or(at::Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const bool wants_bias = context->saved_data["biased"].toBool() && context->needs_input_grad(2);
    const Kernels::Wanted wanted{context->needs_input_grad(0), context->needs_input_grad(1), wants_bias};
    const auto d = kernels_for(saved[0])->linear_backward(gradients[0].contiguous(), saved[0], saved[1],
                                                          context->saved_data["transposed"].toBool(), wanted);
    return {d.x_NI, d.weight, d.bias_O, {}};
  }
};

class MlpGeluFunction : public Function<MlpGeluFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_NI, const at::Tensor& w_in, const at::Tensor& b_in,
                            const at::Tensor& w_out, bool transposed, bool recompute) {
    Kernels& kernels = *kernels_for(x_NI);
    const Kernels::LinearGelu inner = kernels.linear_gelu(x_NI, w_in, transposed, b_in);
    context->save_for_backward({x_NI, inner.before_NO, recompute ? at::Tensor() : inner.y_NO, w_in, w_out});
    context->saved_data["transposed"] = transposed;
    return kernels.linear(inner.y_NO, w_out, transposed, {});
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x_NI = saved[0], &before_NF = saved[1], &w_in = saved[3], &w_out = saved[4];
    Kernels& kernels = *kernels_for(x_NI);
    const bool transposed = context->saved_data["transposed"].toBool();
    const at::Tensor dy_NO = gradients[0].contiguous();
    at::Tensor dw_out;
    if (context->needs_input_grad(3)) {
      const at::Tensor a_NF = saved[2].defined() ? saved[2] : kernels.gelu(before_NF);
      dw_out = kernels.linear_backward(dy_NO, a_NF, w_out, transposed, {false, true, false}).weight;
    }
    const auto inner = kernels.linear_gelu_backward(dy_NO, w_out, transposed, before_NF);
    const Kernels::Wanted wanted{context->needs_input_grad(0), context->needs_input_grad(1), false};
    const auto d = kernels.linear_backward(inner.before_NI, x_NI, w_in, transposed, wanted);
    return {d.x_NI, d.weight, context->needs_input_grad(2) ? inner.bias_I : at::Tensor(), dw_out, {}, {}};
  }
};

at::Tensor by_aten(const at::Tensor& x_NI, const at::Tensor& weight, const at::Tensor& bias_O, bool transposed) {
  const at::Tensor w_IO = transposed ? weight.t() : weight;
  return bias_O.defined() ? at::addmm(bias_O, x_NI, w_IO) : at::mm(x_NI, w_IO);
}

/// gelu_tanh(before) W by ATen, of which only `before` is kept.
class GeluLinearFunction : public Function<GeluLinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& before_NF, const at::Tensor& weight, bool transposed) {
    context->save_for_backward({before_NF, weight});
    context->saved_data["transposed"] = transposed;
    return by_aten(gelu_tanh(before_NF), weight, {}, transposed);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor before = saved[0].detach().requires_grad_(true), weight = saved[1].detach().requires_grad_(true);
    at::AutoGradMode on(true);
    const at::Tensor y = by_aten(gelu_tanh(before), weight, {}, context->saved_data["transposed"].toBool());
    const variable_list d = torch::autograd::grad({y}, {before, weight}, {gradients[0]});
    return {d[0], d[1], {}};
  }
};

void check_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, bool transposed) {
  check(x.dim() > 0 && weight.dim() == 2 && weight.numel() > 0 && x.size(-1) == weight.size(transposed ? 1 : 0) &&
            (!bias.defined() || (bias.dim() == 1 && bias.size(0) == outputs(weight, transposed))),
        "linear takes x of the weight's inputs, and a bias of its outputs");
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, WeightLayout layout) {
  const bool transposed = is_transposed(layout);
  check_linear(x, weight, bias, transposed);
  const at::Tensor x_NI = as_rows(x);
  if (kernels_of(x) == nullptr) return shaped_like(by_aten(x_NI, weight, bias, transposed), x);
  const at::Tensor of_type = operand(x_NI, x_NI).contiguous();
  std::optional<at::Tensor> bias_of_type;
  if (bias.defined()) bias_of_type = operand(bias, of_type).contiguous();
  return shaped_like(LinearFunction::apply(of_type, operand(weight, of_type).contiguous(), bias_of_type, transposed), x);
}

at::Tensor mlp_gelu(const at::Tensor& x, const at::Tensor& w_in, const at::Tensor& b_in, const at::Tensor& w_out,
                    WeightLayout layout, bool recompute_activation) {
  const bool transposed = is_transposed(layout);
  check_linear(x, w_in, b_in, transposed);
  check(b_in.defined() && w_out.dim() == 2 && w_out.numel() > 0 && w_out.size(transposed ? 1 : 0) == outputs(w_in, transposed),
        "mlp_gelu takes a bias, and a second weight whose inputs are the first one's outputs");
  const at::Tensor x_NI = as_rows(x);
  if (kernels_of(x) == nullptr) {
    const at::Tensor before_NF = by_aten(x_NI, w_in, b_in, transposed);
    return shaped_like(recompute_activation ? GeluLinearFunction::apply(before_NF, operand(w_out, before_NF), transposed)
                                            : by_aten(gelu_tanh(before_NF), w_out, {}, transposed),
                       x);
  }
  const at::Tensor of_type = operand(x_NI, x_NI).contiguous();
  return shaped_like(
      MlpGeluFunction::apply(of_type, operand(w_in, of_type).contiguous(), operand(b_in, of_type).contiguous(),
                             operand(w_out, of_type).contiguous(), transposed, recompute_activation),
      x);
}

}  // namespace trireme::ops
