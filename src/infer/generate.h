#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::infer {

struct Sampling {
  int64_t max_tokens = 200;
  double temperature = 0.8;  ///< 0: always the most likely token
  int64_t top_k = 0;         ///< 0: all tokens
  uint64_t seed = 42;
};

/// tokens_BT (int64, T at most the context length) to the logits of the last position, [B, vocabulary], float32.
using NextLogits = std::function<at::Tensor(const at::Tensor& tokens_BT)>;

/// Index of the token that `uniform` in [0, 1) selects from logits of one position. Ties of equal logits keep index order.
[[nodiscard]] int64_t choose_token(const at::Tensor& logits, const Sampling& sampling, double uniform);

/// Continues `prompt` (not empty) by max_tokens tokens; `on_token` sees each as it is chosen. The same seed gives the same text.
std::vector<int64_t> generate(const NextLogits& next_logits, std::vector<int64_t> prompt, int64_t context_length,
                              const Sampling& sampling, const std::function<void(int64_t)>& on_token);

}  // namespace trireme::infer
