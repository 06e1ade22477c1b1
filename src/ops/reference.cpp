#include "ops/reference.h"

#include <trireme/core/random.h>

#include "ops/dropout_hash.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>

namespace trireme::ops::reference {

CrossEntropy cross_entropy_sum(const at::Tensor& logits_NV, const at::Tensor& targets_N,
                               const at::Tensor& mask_N, const CrossEntropyOptions& options) {
  at::Tensor counts = targets_N != options.ignore_index;
  if (mask_N.defined()) counts = counts.logical_and(mask_N.to(at::kBool));
  const at::Tensor targets = targets_N.masked_fill(counts.logical_not(), -100);
  const at::Tensor logits =
      logits_NV.scalar_type() == at::kDouble ? logits_NV : logits_NV.to(at::kFloat);
  const at::Tensor log_softmax = at::log_softmax(logits, 1);
  const at::Tensor loss_sum = at::nll_loss(log_softmax, targets, {}, at::Reduction::Sum, -100);
  at::Tensor hits = at::zeros_like(counts);
  if (logits.numel() > 0) hits = (logits.detach().argmax(1) == targets);
  return {loss_sum, counts.sum().to(at::kDouble), hits.logical_and(counts).sum().to(at::kDouble)};
}

at::Tensor causal_attention(const at::Tensor& qkv_BTM, int64_t heads) {
  const int64_t b = qkv_BTM.size(0), t = qkv_BTM.size(1), d = qkv_BTM.size(2) / (3 * heads);
  const auto qkv = qkv_BTM.view({b, t, 3, heads, d}).transpose(1, 3).unbind(2);
  const at::Tensor future = at::ones({t, t}, at::TensorOptions(at::kBool)).triu(1);
  const at::Tensor scores =
      at::matmul(qkv[0], qkv[1].transpose(2, 3)) / std::sqrt(static_cast<double>(d));
  const at::Tensor p =
      at::softmax(scores.masked_fill(future, -std::numeric_limits<double>::infinity()), -1);
  return at::matmul(p, qkv[2]).transpose(1, 2).reshape({b, t, heads * d});
}

at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& keys_B, std::string_view site) {
  at::Tensor keep = at::empty(x.sizes(), at::TensorOptions(at::kBool));
  const auto threshold = static_cast<uint64_t>(p * 4294967296.0);
  for (int64_t b = 0; b < x.size(0); ++b) {
    const auto key = core::RandomKey(std::bit_cast<uint64_t>(keys_B[b].item<int64_t>()));
    const DropoutHash hash(key.fold(site).value());
    bool* sample = keep.select(0, b).mutable_data_ptr<bool>();
    for (int64_t i = 0; i < x.numel() / x.size(0); ++i)
      sample[i] = hash(static_cast<uint32_t>(i)) >= threshold;
  }
  return at::where(keep, x / (1.0 - p), at::zeros({}, x.options()));
}

Normed layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight_C,
                  const at::Tensor& bias_C, double epsilon) {
  const at::Tensor s = residual.defined() ? x + residual : x;
  const at::Tensor centred = s - s.mean(-1, true);
  const at::Tensor y = centred / (centred.square().mean(-1, true) + epsilon).sqrt() * weight_C;
  return {bias_C.defined() ? y + bias_C : y, s};
}

Normed rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight_C,
                double epsilon) {
  const at::Tensor s = residual.defined() ? x + residual : x;
  return {s / (s.square().mean(-1, true) + epsilon).sqrt() * weight_C, s};
}

at::Tensor rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine, const at::Tensor& sine) {
  const auto halves = x_BTHD.chunk(2, -1);
  const at::Tensor c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1);
}

at::Tensor embedding(const at::Tensor& weight_VC, const at::Tensor& indices) {
  std::vector<int64_t> shape = indices.sizes().vec();
  shape.push_back(weight_VC.size(1));
  return weight_VC.index_select(0, indices.reshape({-1})).view(shape);
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) { return at::silu(gate) * up; }

}  // namespace trireme::ops::reference
