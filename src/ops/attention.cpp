#include <trireme/core/error.h>
#include <trireme/ops/attention.h>

#include "ops/fused_attention.h"
#include "ops/simd.h"
#include "ops/softmax_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

// Up to here the products over all pairs of tokens cost less than what leaving out the upper half
// saves, and the probabilities are no larger than the activations around them.
constexpr int64_t longest = 256;

// Views [H, T, D] of one sample, without copies: matrix products take any row stride.
struct Heads {
  at::Tensor q, k, v;
};
Heads heads_of(const at::Tensor& qkv_BTM, int64_t sample, int64_t heads) {
  const at::Tensor x_TM = qkv_BTM.select(0, sample);
  const at::Tensor x_3HTD =
      x_TM.view({x_TM.size(0), 3, heads, x_TM.size(1) / (3 * heads)}).permute({1, 2, 0, 3});
  return {x_3HTD[0], x_3HTD[1], x_3HTD[2]};
}
at::Tensor heads_of_output(const at::Tensor& y_BTC, int64_t sample, int64_t heads) {
  const at::Tensor y_TC = y_BTC.select(0, sample);
  return y_TC.view({y_TC.size(0), heads, y_TC.size(1) / heads}).transpose(0, 1);
}

// out = factor * a b; `out` may be a view.
void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, double factor = 1) {
  out.baddbmm_(a, b, 0, factor);
}

// Scores become probabilities: row t of each [T, T] over its first t + 1 columns, zero beyond.
void causal_softmax(const at::Tensor& scores_HTT) {
  const int64_t length = scores_HTT.size(2);
  auto* row = scores_HTT.mutable_data_ptr<float>();
  const bool wide = simd::has_avx512();
  for (int64_t i = 0; i < scores_HTT.size(0) * length; ++i, row += length) {
    const int64_t n = i % length + 1;
    const RowSoftmax softmax = SoftmaxRows<float>::forward(row, n, wide);
    SoftmaxRows<float>::scaled_exponentials(row, row, n, softmax.maximum, 1.0F / softmax.sum, wide);
    std::fill(row + n, row + length, 0.0F);
  }
}

// The gradient of the probabilities becomes that of the scores.
void causal_softmax_backward(const at::Tensor& gradient_HTT, const at::Tensor& probabilities_HTT) {
  const int64_t length = gradient_HTT.size(2);
  auto* row = gradient_HTT.mutable_data_ptr<float>();
  const auto* p = probabilities_HTT.const_data_ptr<float>();
  const bool wide = simd::has_avx512();
  for (int64_t i = 0; i < gradient_HTT.size(0) * length; ++i, row += length, p += length) {
    const int64_t n = i % length + 1;
    SoftmaxRows<float>::backward(p, row, n, wide);
    std::fill(row + n, row + length, 0.0F);
  }
}

class CausalAttentionFunction : public torch::autograd::Function<CausalAttentionFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& qkv_BTM,
                            int64_t heads) {
    const int64_t b = qkv_BTM.size(0), t = qkv_BTM.size(1), c = qkv_BTM.size(2) / 3;
    const at::Tensor x = qkv_BTM.detach();  // other threads have their own grad mode
    const at::Tensor y_BTC = at::empty({b, t, c}, x.options());
    const at::Tensor p_BHTT = at::empty({b, heads, t, t}, x.options());
    at::parallel_for(0, b, 1, [&](int64_t begin, int64_t end) {
      for (int64_t sample = begin; sample < end; ++sample) {
        const auto [q, k, v] = heads_of(x, sample, heads);
        const at::Tensor p = p_BHTT.select(0, sample);
        multiply(p, q, k.transpose(1, 2), scale(q));
        causal_softmax(p);
        multiply(heads_of_output(y_BTC, sample, heads), p, v);
      }
    });
    context->save_for_backward({qkv_BTM, p_BHTT});
    context->saved_data["heads"] = heads;
    return y_BTC;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor x = saved[0].detach(), p_BHTT = saved[1].detach();
    const int64_t heads = context->saved_data["heads"].toInt(), t = x.size(1);
    const at::Tensor dy_BTC = gradients[0].detach().contiguous();
    const at::Tensor dx = at::empty_like(x);
    at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
      const at::Tensor ds = at::empty({heads, t, t}, x.options());
      for (int64_t sample = begin; sample < end; ++sample) {
        const auto [q, k, v] = heads_of(x, sample, heads);
        const auto [dq, dk, dv] = heads_of(dx, sample, heads);
        const at::Tensor dy = heads_of_output(dy_BTC, sample, heads), p = p_BHTT.select(0, sample);
        multiply(dv, p.transpose(1, 2), dy);
        multiply(ds, dy, v.transpose(1, 2));
        causal_softmax_backward(ds, p);
        multiply(dq, ds, k, scale(q));
        multiply(dk, ds.transpose(1, 2), q, scale(q));
      }
    });
    return {dx, {}};
  }

 private:
  static double scale(const at::Tensor& q_HTD) {
    return 1.0 / std::sqrt(static_cast<double>(q_HTD.size(2)));
  }
};

}  // namespace

at::Tensor causal_attention(const at::Tensor& qkv_BTM, int64_t heads) {
  check(qkv_BTM.dim() == 3 && heads > 0 && qkv_BTM.size(2) % (3 * heads) == 0,
        "causal_attention takes queries, keys and values [B, T, 3 * heads * D]");
  const int64_t b = qkv_BTM.size(0), t = qkv_BTM.size(1), c = qkv_BTM.size(2) / 3;
  if (b == 0 || (qkv_BTM.is_cpu() && qkv_BTM.scalar_type() == at::kFloat && t <= longest))
    return CausalAttentionFunction::apply(qkv_BTM.contiguous(), heads);
  if (!qkv_BTM.is_cpu()) return fused_causal_attention(qkv_BTM, heads);
  const auto qkv = qkv_BTM.reshape({b, t, 3, heads, c / heads}).transpose(1, 3).unbind(2);
  const at::Tensor y_BHTD = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {}, 0.0, true);
  return y_BHTD.transpose(1, 2).reshape({b, t, c});
}

}  // namespace trireme::ops
