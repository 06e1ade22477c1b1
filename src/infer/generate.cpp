#include "infer/generate.h"

#include <trireme/core/error.h>
#include <trireme/core/random.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>

namespace trireme::infer {

int64_t choose_token(const at::Tensor& logits, const Sampling& sampling, double uniform) {
  const at::Tensor row = logits.reshape({-1}).to(at::kCPU, at::kDouble).contiguous();
  const double* values = row.const_data_ptr<double>();
  const int64_t n = row.numel();
  check(n > 0, "no logits");
  if (sampling.temperature <= 0) return std::max_element(values, values + n) - values;

  std::vector<int64_t> candidates(static_cast<size_t>(n));
  std::iota(candidates.begin(), candidates.end(), 0);
  if (sampling.top_k > 0 && sampling.top_k < n) {
    std::stable_sort(candidates.begin(), candidates.end(), [&](int64_t a, int64_t b) { return values[a] > values[b]; });
    candidates.resize(static_cast<size_t>(sampling.top_k));
  }
  double largest = -std::numeric_limits<double>::infinity();
  for (const int64_t c : candidates) largest = std::max(largest, values[c]);
  double total = 0;
  for (const int64_t c : candidates) total += std::exp((values[c] - largest) / sampling.temperature);
  double remaining = uniform * total;
  for (const int64_t c : candidates) {
    remaining -= std::exp((values[c] - largest) / sampling.temperature);
    if (remaining < 0) return c;
  }
  return candidates.back();
}

std::vector<int64_t> generate(const NextLogits& next_logits, std::vector<int64_t> prompt, int64_t context_length,
                              const Sampling& sampling, const std::function<void(int64_t)>& on_token) {
  if (prompt.empty()) throw Error(ErrorKind::usage, "the prompt is empty", "give at least one character");
  const at::NoGradGuard no_grad;
  const core::RandomKey key = core::RandomKey(sampling.seed).fold("generate");
  for (int64_t i = 0; i < sampling.max_tokens; ++i) {
    const int64_t length = std::min<int64_t>(static_cast<int64_t>(prompt.size()), context_length);
    const at::Tensor window = at::from_blob(prompt.data() + (static_cast<int64_t>(prompt.size()) - length), {1, length}, at::kLong);
    const int64_t token = choose_token(next_logits(window), sampling, key.uniform(static_cast<uint64_t>(i)));
    prompt.push_back(token);
    on_token(token);
  }
  return prompt;
}

}  // namespace trireme::infer
