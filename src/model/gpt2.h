#pragma once

#include <trireme/model/model.h>

#include "model/settings.h"

#include <vector>

namespace trireme::model {

/// GPT-2 with a tied head. Fields: `tokens` and `targets` (integers, [B, T], T up to n_positions),
/// optionally `loss_mask`
/// ([B, T], zero: the target does not count). Parameter names are those of Hugging Face's
/// GPT2LMHeadModel, `transformer.` included; the head is transformer.wte.weight, listed once. One
/// unit for each embedding, block, and the last norm.
class Gpt2 final : public Model, public LanguageModel {
 public:
  explicit Gpt2(const Gpt2Settings& settings);

  LossSums loss(const core::Batch& batch) override;
  [[nodiscard]] std::vector<autograd::Unit*> units() override;
  [[nodiscard]] double nominal_weight_per_sample() const override;
  [[nodiscard]] double flops_per_sample(int64_t tokens) const override;
  [[nodiscard]] bool marks_cheap_parts() const override { return true; }
  [[nodiscard]] bool supports_fp8() const override { return true; }
  /// The length of the latest batch's sequences; before the first one, n_positions.
  [[nodiscard]] int64_t tokens_per_sample() const override { return sequence_length_; }
  void check_batch(const core::Batch& batch) const override;
  [[nodiscard]] bool repeatable() const override { return true; }
  void check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const override;

  [[nodiscard]] int64_t context_length() const override { return settings_.n_positions; }
  [[nodiscard]] int64_t vocabulary() const override { return settings_.vocab_size; }
  /// Of longer sequences only the last n_positions tokens are used. No dropout, no gradients.
  [[nodiscard]] at::Tensor next_logits(const at::Tensor& tokens_BT) override;

  [[nodiscard]] const Gpt2Settings& settings() const { return settings_; }

 private:
  [[nodiscard]] at::Tensor hidden_states(const at::Tensor& tokens_BT, const at::Tensor& keys_B);

  Gpt2Settings settings_;
  int64_t sequence_length_;
  autograd::Unit token_embedding_;
  autograd::Unit position_embedding_;
  std::vector<autograd::Unit> blocks_;
  autograd::Unit last_norm_;
};

}  // namespace trireme::model
