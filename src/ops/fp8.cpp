#include <trireme/ops/fp8.h>

#include <trireme/core/error.h>

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/core.h>

namespace trireme::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t tile = 16;  // elements: what the matrix units take of a row

/// A tensor as `values` * `scale`.
struct Scaled {
  at::Tensor values;
  at::Tensor scale;  ///< 0-dim float32
};

double largest(at::ScalarType type) { return type == at::kFloat8_e4m3fn ? 448.0 : 57344.0; }

/// The scale is a power of 2, so that scaling is exact in any type and the cast rounds once.
Scaled scaled_to(const at::Tensor& x, at::ScalarType type) {
  const auto [least, most] = at::aminmax(x);
  const at::Tensor peak = at::maximum(least.neg(), most).to(at::kFloat).clamp_min(1e-30);
  const at::Tensor factor = (largest(type) / peak).log2().floor().exp2();
  // The cast makes NaN of what is too large, e.g. after the logarithm was rounded up.
  const at::Tensor values = (x * factor.to(x.scalar_type())).clamp(-largest(type), largest(type)).to(type);
  return {values, factor.reciprocal()};
}

/// a_MK b_KN, where b is given as its transpose: both rows of K, as the matrix units want them.
at::Tensor product(const Scaled& a_MK, const Scaled& b_NK, at::ScalarType type, bool fast) {
  return at::_scaled_mm(a_MK.values, b_NK.values.t(), a_MK.scale, b_NK.scale, {}, {}, type, fast && a_MK.values.is_cuda());
}

Scaled turned(const Scaled& x) { return {x.values.t().contiguous(), x.scale}; }

/// Rows of zeros up to a multiple of 16, which add nothing to sums over rows.
at::Tensor padded(const at::Tensor& x_NC) {
  const int64_t missing = (tile - x_NC.size(0) % tile) % tile;
  return missing == 0 ? x_NC : at::constant_pad_nd(x_NC, {0, 0, 0, missing});
}

at::Tensor without_padding(const at::Tensor& y_NC, int64_t rows) {
  return y_NC.size(0) == rows ? y_NC : y_NC.narrow(0, 0, rows).clone();
}

class LinearFp8Function : public torch::autograd::Function<LinearFp8Function> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_NI, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias_O, bool out_in) {
    const Scaled x = scaled_to(padded(x_NI), at::kFloat8_e4m3fn);
    Scaled w_OI = scaled_to(weight, at::kFloat8_e4m3fn);
    if (!out_in) w_OI = turned(w_OI);
    context->save_for_backward({x.values, x.scale, weight});
    context->saved_data["out_in"] = out_in;
    context->saved_data["biased"] = bias_O.has_value();
    const at::Tensor y = without_padding(product(x, w_OI, x_NI.scalar_type(), true), x_NI.size(0));
    return bias_O ? y + bias_O->to(y.scalar_type()) : y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Scaled x_NI{saved[0], saved[1]};
    const at::Tensor& weight = saved[2];
    const bool out_in = context->saved_data["out_in"].toBool();
    const at::Tensor& dy = gradients[0];
    const Scaled dy_NO = scaled_to(padded(dy.contiguous()), at::kFloat8_e5m2);
    at::Tensor dx, dw, db;
    if (context->needs_input_grad(0)) {
      Scaled w_IO = scaled_to(weight, at::kFloat8_e4m3fn);
      if (out_in) w_IO = turned(w_IO);
      dx = without_padding(product(dy_NO, w_IO, dy.scalar_type(), false), dy.size(0));
    }
    if (context->needs_input_grad(1)) {
      const Scaled x_IN = turned(x_NI), dy_ON = turned(dy_NO);
      dw = out_in ? product(dy_ON, x_IN, weight.scalar_type(), false) : product(x_IN, dy_ON, weight.scalar_type(), false);
    }
    if (context->saved_data["biased"].toBool() && context->needs_input_grad(2)) db = dy.sum(0);
    return {dx, dw, db, {}};
  }
};

}  // namespace

at::Tensor linear_fp8(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, WeightLayout layout) {
  const bool out_in = layout == WeightLayout::out_in;
  check(x.dim() > 0 && weight.dim() == 2 && x.size(-1) == weight.size(out_in ? 1 : 0) &&
            (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat),
        "linear_fp8 takes x of the weight's inputs, in bfloat16 or float32");
  if (weight.size(0) % tile != 0 || weight.size(1) % tile != 0 || weight.numel() == 0)
    throw Error(ErrorKind::configuration,
                fmt::format("a linear layer of {} x {} cannot be computed in 8 bits: its sides are no multiples of {}",
                            weight.size(0), weight.size(1), tile),
                "change the model's widths, or keep this layer in bf16");
  if (x.numel() == 0) return linear(x, weight, bias, layout);
  std::optional<at::Tensor> present;
  if (bias.defined()) present = bias;
  const at::Tensor y_NO =
      LinearFp8Function::apply(x.reshape({x.numel() / x.size(-1), x.size(-1)}).contiguous(), weight.contiguous(), present, out_in);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = y_NO.size(1);
  return y_NO.view(sizes);
}

}  // namespace trireme::ops
