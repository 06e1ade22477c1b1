#include <trireme/core/error.h>
#include <trireme/core/name_hash.h>
#include <trireme/ops/dropout.h>

#include "ops/dropout_hash.h"
#include "ops/kernels.h"

#include <bit>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/core.h>

namespace trireme::ops {

namespace {

// Elements between here and there with the mask of one sample. T at most float is computed in
// float.
template <class T>
void drop_sample(const T* from, T* to, uint32_t n, const DropoutHash& hash, uint32_t threshold,
                 double scale) {
  using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const auto factor = static_cast<Real>(scale);
  for (uint32_t i = 0; i < n; ++i) {
    const Real value = static_cast<Real>(from[i]) * factor;
    to[i] = static_cast<T>(hash(i) >= threshold ? value : Real(0));
  }
}

template <class T>
void drop(const at::Tensor& from, const at::Tensor& to, double p, const at::Tensor& seeds_B) {
  const int64_t batch = seeds_B.numel();
  if (from.numel() == 0) return;
  const int64_t n = from.numel() / batch;
  const T* source = from.const_data_ptr<T>();
  T* target = to.mutable_data_ptr<T>();
  const auto* seeds = seeds_B.const_data_ptr<int64_t>();
  const auto threshold = static_cast<uint32_t>(p * 0x1.0p32);
  at::parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      drop_sample(source + b * n, target + b * n, static_cast<uint32_t>(n),
                  DropoutHash(std::bit_cast<uint64_t>(seeds[b])), threshold, 1.0 / (1.0 - p));
  });
}

Kernels* kernels_of(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? nullptr : kernels_for(x);
}

// RandomKey(key).fold(site) of each key.
at::Tensor folded(const at::Tensor& keys_B, std::string_view site) {
  const at::Tensor from = keys_B.contiguous();
  at::Tensor seeds = at::empty_like(from);
  const auto* keys = from.const_data_ptr<int64_t>();
  auto* out = seeds.mutable_data_ptr<int64_t>();
  for (int64_t b = 0; b < from.numel(); ++b)
    out[b] = std::bit_cast<int64_t>(
        core::RandomKey(std::bit_cast<uint64_t>(keys[b])).fold(site).value());
  return seeds;
}

at::Tensor dropped(const at::Tensor& x, double p, const at::Tensor& seeds_B) {
  const at::Tensor from = x.detach().contiguous();
  if (Kernels* const kernels = kernels_of(from)) return kernels->dropout(from, p, seeds_B);
  at::Tensor to = at::empty_like(from);
  switch (from.scalar_type()) {
    case at::kFloat:
      drop<float>(from, to, p, seeds_B);
      break;
    case at::kDouble:
      drop<double>(from, to, p, seeds_B);
      break;
    case at::kBFloat16:
      drop<at::BFloat16>(from, to, p, seeds_B);
      break;
    case at::kHalf:
      drop<at::Half>(from, to, p, seeds_B);
      break;
    default:
      check(false, fmt::format("dropout of {}", at::toString(from.scalar_type())));
  }
  return to;
}

class DropoutFunction : public torch::autograd::Function<DropoutFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            double p, const at::Tensor& seeds_B) {
    context->saved_data["p"] = p;
    context->saved_data["seeds"] =
        seeds_B;  // not save_for_backward: no business of saved-tensor providers
    return dropped(x, p, seeds_B);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    return {dropped(gradients[0], context->saved_data["p"].toDouble(),
                    context->saved_data["seeds"].toTensor()),
            {},
            {}};
  }
};

}  // namespace

at::Tensor sample_keys(core::RandomKey key, std::span<const int64_t> samples) {
  at::Tensor keys = at::empty({static_cast<int64_t>(samples.size())}, at::TensorOptions(at::kLong));
  auto* out = keys.mutable_data_ptr<int64_t>();
  for (size_t b = 0; b < samples.size(); ++b)
    out[b] = std::bit_cast<int64_t>(key.fold(static_cast<uint64_t>(samples[b])).value());
  return keys;
}

at::Tensor sample_keys(const core::Batch& batch) {
  return batch.keys.defined() ? batch.keys : sample_keys(batch.random, batch.samples);
}

at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& keys_B, std::string_view site) {
  check(p >= 0.0 && p < 1.0, "the probability of dropout is in [0, 1)");
  check(x.dim() >= 1 && keys_B.dim() == 1 && keys_B.scalar_type() == at::kLong &&
            x.size(0) == keys_B.size(0),
        "dropout takes one key for each element of the first dimension");
  check(x.device() == keys_B.device() && (x.is_cpu() || x.scalar_type() != at::kDouble),
        "dropout takes keys on the device of its tensor, and float64 on the CPU");
  check(x.size(0) == 0 || x.numel() / x.size(0) <= std::numeric_limits<uint32_t>::max(),
        "dropout takes samples of fewer than 2^32 elements");
  if (p == 0.0) return x;
  Kernels* const kernels = kernels_of(x);
  const at::Tensor seeds = kernels == nullptr
                               ? folded(keys_B, site)
                               : kernels->fold_keys(keys_B.contiguous(), core::name_hash(site));
  return DropoutFunction::apply(x, p, seeds);
}

at::Tensor dropout(const at::Tensor& x, double p, core::RandomKey key,
                   std::span<const int64_t> samples, std::string_view site) {
  return dropout(x, p, sample_keys(key, samples).to(x.device()), site);
}

}  // namespace trireme::ops
