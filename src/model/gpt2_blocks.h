#pragma once

#include <trireme/autograd/unit.h>

#include "model/settings.h"

#include <memory>

// The units of GPT-2. B batch, T sequence, C width, V vocabulary. Where `keys_B` (see
// ops::sample_keys) is an undefined tensor there is no dropout.

namespace trireme::model {

/// {tokens_BT (int64)} to {embeddings_BTC}; {hidden_NC} to {logits_NV} by the same weight.
[[nodiscard]] std::unique_ptr<autograd::Block> make_token_embedding(
    const autograd::BuildContext& context, const Gpt2Settings& settings);
/// {embeddings_BTC, keys_B} to {x_BTC} with positions added.
[[nodiscard]] std::unique_ptr<autograd::Block> make_position_embedding(
    const autograd::BuildContext& context, const Gpt2Settings& settings);
/// {x_BTC, keys_B} to {x_BTC}.
[[nodiscard]] std::unique_ptr<autograd::Block> make_transformer_block(
    const autograd::BuildContext& context, const Gpt2Settings& settings);
/// {x_BTC} to {x_BTC}, or any shape that ends in C.
[[nodiscard]] std::unique_ptr<autograd::Block> make_last_norm(const autograd::BuildContext& context,
                                                              const Gpt2Settings& settings);

}  // namespace trireme::model
