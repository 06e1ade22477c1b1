#include <trireme/core/error.h>
#include <trireme/ops/norm.h>

#include "ops/kernels.h"

#include <array>
#include <optional>
#include <tuple>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

using Kind = Kernels::Norm;
using Rows = Kernels::Normed;
using Gradients = Kernels::NormGradients;
using torch::autograd::variable_list;

at::Tensor wide(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

// What Kernels do, for the CPU: with the same rows, in ATen's operations.
Rows norm_on_cpu(Kind kind, const at::Tensor& x_NC, const at::Tensor& residual_NC,
                 const at::Tensor& weight_C, const at::Tensor& bias_C, double epsilon) {
  Rows rows;
  rows.sum = residual_NC.defined() ? x_NC + residual_NC : x_NC;
  if (kind == Kind::layer) {
    std::tie(rows.y, rows.mean_N, rows.inverse_N) =
        at::native_layer_norm(rows.sum, weight_C.sizes(), weight_C, bias_C, epsilon);
  } else {
    const at::Tensor s = wide(rows.sum);
    rows.inverse_N = (s.square().mean(-1, true) + epsilon).rsqrt_();
    rows.y = (s * rows.inverse_N).mul_(wide(weight_C)).to(rows.sum.scalar_type());
  }
  return rows;
}

Gradients backward_on_cpu(Kind kind, const at::Tensor& dy_NC, const at::Tensor& dsum_NC,
                          const at::Tensor& s_NC, const at::Tensor& mean_N,
                          const at::Tensor& inverse_N, const at::Tensor& weight_C,
                          const std::array<bool, 3>& wanted) {
  Gradients result;
  if (kind == Kind::layer) {
    // Of the bias it needs only shape and type: the weight's.
    std::tie(result.s, result.weight_C, result.bias_C) = at::native_layer_norm_backward(
        dy_NC, s_NC, weight_C.sizes(), mean_N, inverse_N, weight_C, weight_C, wanted);
    if (dsum_NC.defined() && wanted[0]) result.s.add_(dsum_NC);
    return result;
  }
  const at::Tensor dy = wide(dy_NC), normed = wide(s_NC) * inverse_N;
  if (wanted[1]) result.weight_C = (dy * normed).sum(0).to(weight_C.scalar_type());
  if (wanted[0]) {
    const at::Tensor g = dy * wide(weight_C);
    at::Tensor ds = (g - normed * (g * normed).mean(-1, true)).mul_(inverse_N);
    if (dsum_NC.defined()) ds.add_(dsum_NC);
    result.s = ds.to(s_NC.scalar_type());
  }
  return result;
}

class NormFunction : public torch::autograd::Function<NormFunction> {
 public:
  static variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                               const std::optional<at::Tensor>& residual,
                               const at::Tensor& weight_C, const std::optional<at::Tensor>& bias,
                               bool layer, double epsilon) {
    const Kind kind = layer ? Kind::layer : Kind::rms;
    const at::Tensor x_NC = rows_of(x, weight_C), bias_C = bias.value_or(at::Tensor());
    const at::Tensor residual_NC = rows_of(residual.value_or(at::Tensor()), weight_C);
    Kernels* const kernels = kernels_for(x);
    const Rows rows = kernels != nullptr
                          ? kernels->norm(kind, x_NC, residual_NC, weight_C, bias_C, epsilon)
                          : norm_on_cpu(kind, x_NC, residual_NC, weight_C, bias_C, epsilon);
    // No views: autograd would not let a caller change them in place.
    const at::Tensor y = at::_unsafe_view(rows.y, x.sizes());
    const at::Tensor sum = residual_NC.defined() ? at::_unsafe_view(rows.sum, x.sizes()) : x;
    context->set_materialize_grads(false);
    context->save_for_backward({sum, rows.mean_N, rows.inverse_N, weight_C});
    context->saved_data["layer"] = layer;
    context->saved_data["residual"] = residual_NC.defined();
    context->saved_data["bias"] = bias_C.defined();
    return {y, sum};
  }

  static variable_list backward(torch::autograd::AutogradContext* context,
                                const variable_list& gradients) {
    const bool with_residual = context->saved_data["residual"].toBool();
    const auto result = [&](const at::Tensor& ds, const at::Tensor& dweight,
                            const at::Tensor& dbias) -> variable_list {
      return {ds, with_residual ? ds : at::Tensor(), dweight, dbias, {}, {}};
    };
    const at::Tensor &dy = gradients[0], &dsum = gradients[1];
    if (!dy.defined()) return result(dsum, {}, {});
    const auto saved = context->get_saved_variables();
    const at::Tensor &s = saved[0], &mean_N = saved[1], &inverse_N = saved[2], &weight_C = saved[3];
    const Kind kind = context->saved_data["layer"].toBool() ? Kind::layer : Kind::rms;
    const bool with_bias = context->saved_data["bias"].toBool();
    const at::Tensor dy_NC = rows_of(dy, weight_C), dsum_NC = rows_of(dsum, weight_C);
    const at::Tensor s_NC = rows_of(s, weight_C);
    Gradients found;
    if (Kernels* const kernels = kernels_for(dy)) {
      found = kernels->norm_backward(kind, dy_NC, dsum_NC, s_NC, mean_N, inverse_N, weight_C,
                                     with_bias);
    } else {
      // Inputs that were undefined have no number here.
      const size_t weight = with_residual ? 2 : 1;
      const bool of_s =
          context->needs_input_grad(0) || (with_residual && context->needs_input_grad(1));
      const bool of_bias = with_bias && context->needs_input_grad(weight + 1);
      found = backward_on_cpu(kind, dy_NC, dsum_NC, s_NC, mean_N, inverse_N, weight_C,
                              {of_s, context->needs_input_grad(weight), of_bias});
    }
    return result(found.s.defined() ? found.s.view(s.sizes()) : found.s, found.weight_C,
                  found.bias_C);
  }

 private:
  static at::Tensor rows_of(const at::Tensor& x, const at::Tensor& weight_C) {
    return x.defined() ? x.reshape({-1, weight_C.numel()}).contiguous() : x;
  }
};

Normed norm(Kind kind, const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight_C,
            const at::Tensor& bias_C, double epsilon) {
  check(weight_C.dim() == 1 && weight_C.numel() > 0 && x.dim() > 0 &&
            x.size(-1) == weight_C.numel() &&
            (!residual.defined() || residual.sizes() == x.sizes()) &&
            (!bias_C.defined() || bias_C.sizes() == weight_C.sizes()),
        "a norm takes x and a residual of one shape, and a weight and a bias of their last "
        "dimension");
  const at::ScalarType type = residual.defined() ? at::result_type(x, residual) : x.scalar_type();
  const at::ScalarType of_weight = weight_C.scalar_type() == type ? type
                                   : type == at::kDouble          ? at::kDouble
                                                                  : at::kFloat;
  const auto prepared = [](const at::Tensor& t, at::ScalarType as) {
    return t.to(as).contiguous();
  };
  const auto prepared_if = [&](const at::Tensor& t,
                               at::ScalarType as) -> std::optional<at::Tensor> {
    if (!t.defined()) return std::nullopt;
    return prepared(t, as);
  };
  const variable_list made = NormFunction::apply(
      prepared(x, type), prepared_if(residual, type), prepared(weight_C, of_weight),
      prepared_if(bias_C, of_weight), kind == Kind::layer, epsilon);
  return {made[0], made[1]};
}

}  // namespace

Normed layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight_C,
                  const at::Tensor& bias_C, double epsilon) {
  return norm(Kind::layer, x, residual, weight_C, bias_C, epsilon);
}

Normed rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight_C,
                double epsilon) {
  return norm(Kind::rms, x, residual, weight_C, {}, epsilon);
}

}  // namespace trireme::ops
