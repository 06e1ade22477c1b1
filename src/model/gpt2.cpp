#include "model/gpt2.h"

#include <trireme/core/error.h>
#include <trireme/ops/cross_entropy.h>
#include <trireme/ops/dropout.h>

#include "model/classification.h"
#include "model/data_check.h"
#include "model/gpt2_blocks.h"

#include <string>

#include <ATen/ATen.h>

#include <fmt/core.h>

namespace trireme::model {

namespace {

using autograd::BuildContext;
using autograd::Unit;

template <class Make>
Unit make_unit(std::string name, Make make, const Gpt2Settings& settings) {
  return Unit(std::move(name),
              [make, settings](const BuildContext& context) { return make(context, settings); });
}

void check_tokens(const at::Tensor& tokens, int64_t vocabulary) {
  if (tokens.numel() == 0) return;
  const auto [least, most] = at::aminmax(tokens);
  const auto low = least.item<int64_t>(), high = most.item<int64_t>();
  if (low < 0 || high >= vocabulary)
    throw Error(ErrorKind::data_damaged,
                fmt::format("token {} is outside of the model's vocabulary of {}",
                            low < 0 ? low : high, vocabulary),
                "check that the text was prepared with the tokenizer of this model");
}

}  // namespace

Gpt2::Gpt2(const Gpt2Settings& settings)
    : settings_(settings),
      sequence_length_(settings.n_positions),
      token_embedding_(make_unit("transformer.wte", make_token_embedding, settings)),
      position_embedding_(make_unit("transformer.wpe", make_position_embedding, settings)),
      last_norm_(make_unit("transformer.ln_f", make_last_norm, settings)) {
  if (settings.n_embd % settings.n_head != 0)
    throw Error(ErrorKind::configuration,
                fmt::format("model.config.n_embd {} is not a multiple of model.config.n_head {}",
                            settings.n_embd, settings.n_head),
                "every head gets the same part of the width");
  for (int64_t layer = 0; layer < settings.n_layer; ++layer)
    blocks_.push_back(
        make_unit(fmt::format("transformer.h.{}", layer), make_transformer_block, settings));
}

std::vector<Unit*> Gpt2::units() {
  std::vector<Unit*> all = {&token_embedding_, &position_embedding_};
  for (Unit& block : blocks_) all.push_back(&block);
  all.push_back(&last_norm_);
  return all;
}

at::Tensor Gpt2::hidden_states(const at::Tensor& tokens_BT, const at::Tensor& keys_B) {
  // On other devices a look at the values would wait for them; check_batch() has looked.
  if (tokens_BT.is_cpu()) check_tokens(tokens_BT, settings_.vocab_size);
  at::Tensor x_BTC = token_embedding_(tokens_BT.to(at::kLong));
  x_BTC = position_embedding_({x_BTC, keys_B})[0];
  for (Unit& block : blocks_) x_BTC = block({x_BTC, keys_B})[0];
  return x_BTC;
}

LossSums Gpt2::loss(const core::Batch& batch) {
  const at::Tensor& tokens_BT = batch.at("tokens");
  const at::Tensor& targets_BT = batch.at("targets");
  if (tokens_BT.dim() != 2 || tokens_BT.size(1) > settings_.n_positions ||
      targets_BT.sizes() != tokens_BT.sizes())
    throw Error(
        ErrorKind::configuration,
        fmt::format("the batch holds sequences of {} tokens, model.config.n_positions is {}",
                    tokens_BT.dim() == 2 ? tokens_BT.size(1) : 0, settings_.n_positions),
        "`tokens` and `targets` are [samples, tokens] with at most n_positions tokens");
  sequence_length_ = tokens_BT.size(1);
  const bool dropping = settings_.dropout > 0.0 && token_embedding_.block().training();
  const at::Tensor keys_B = dropping ? ops::sample_keys(batch) : at::Tensor();
  const at::Tensor x_NC = last_norm_(hidden_states(tokens_BT, keys_B)).flatten(0, 1);
  const at::Tensor logits_NV = token_embedding_(x_NC);
  const at::Tensor mask_N =
      batch.has("loss_mask") ? batch.at("loss_mask").reshape({-1}) : at::Tensor();
  // Nothing else reads the logits, and linear does not save its result.
  const ops::CrossEntropy sums = ops::cross_entropy_sum(
      logits_NV, targets_BT.to(at::kLong).reshape({-1}), mask_N, {.consume_logits = true});
  return {sums.loss_sum, sums.weight, {{"accuracy", sums.correct}}};
}

double Gpt2::nominal_weight_per_sample() const {
  return static_cast<double>(settings_.n_positions);
}

double Gpt2::flops_per_sample(int64_t tokens) const {
  const auto length = static_cast<double>(tokens), width = static_cast<double>(settings_.n_embd),
             inner = static_cast<double>(settings_.inner()), layers = static_cast<double>(settings_.n_layer),
             vocabulary = static_cast<double>(settings_.vocab_size);
  const double weights = layers * (4 * width * width + 2 * width * inner) + vocabulary * width;
  const double attention = 2 * layers * width * length;  // of a token: scores and their use, as if not causal
  return 6 * length * (weights + attention);
}

void Gpt2::check_batch(const core::Batch& batch) const {
  check_tokens(batch.at("tokens"), settings_.vocab_size);
  check_targets(batch.at("targets"), batch.has("loss_mask") ? batch.at("loss_mask") : at::Tensor(), settings_.vocab_size);
}

void Gpt2::check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const {
  const DataCheck data("gpt2", properties);
  data.at_most("vocab_size", "model.config.vocab_size", settings_.vocab_size);
  data.at_most("sequence_length", "model.config.n_positions", settings_.n_positions);
}

at::Tensor Gpt2::next_logits(const at::Tensor& tokens_BT) {
  check(tokens_BT.dim() == 2 && tokens_BT.size(1) > 0, "next_logits takes tokens [B, T], T > 0");
  const at::NoGradGuard no_grad;
  const int64_t length = std::min(tokens_BT.size(1), settings_.n_positions);
  const at::Tensor window_BT = tokens_BT.narrow(1, tokens_BT.size(1) - length, length);
  const at::Tensor x_BTC = hidden_states(window_BT, {});
  return token_embedding_(last_norm_(x_BTC.select(1, length - 1))).to(at::kFloat);
}

}  // namespace trireme::model
