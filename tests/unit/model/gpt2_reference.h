#pragma once

#include <trireme/core/parameters.h>

#include "model/settings.h"

#include <map>
#include <string>

#include <ATen/ATen.h>

#include <fmt/core.h>

namespace trireme::model::testing_support {

// GPT-2 once more, op by op in plain ATen, from parameters by name.
class Gpt2Reference {
 public:
  Gpt2Reference(const core::ParameterSet& parameters, const Gpt2Settings& settings)
      : settings_(settings) {
    for (const auto& p : parameters) p_[p.name] = p.tensor;
  }

  at::Tensor logits(const at::Tensor& tokens) const {
    const int64_t c = settings_.n_embd, t = tokens.size(1);
    at::Tensor x = p_.at("transformer.wte.weight")
                       .index_select(0, tokens.reshape(-1))
                       .view({tokens.size(0), t, c});
    x = x + p_.at("transformer.wpe.weight").index_select(0, at::arange(t));
    for (int64_t layer = 0; layer < settings_.n_layer; ++layer) {
      const std::string h = fmt::format("transformer.h.{}.", layer);
      x = x + conv1d(attention(conv1d(norm(x, h + "ln_1"), h + "attn.c_attn")), h + "attn.c_proj");
      x = x + conv1d(gelu_new(conv1d(norm(x, h + "ln_2"), h + "mlp.c_fc")), h + "mlp.c_proj");
    }
    return at::matmul(norm(x, "transformer.ln_f"), p_.at("transformer.wte.weight").t());
  }

  at::Tensor loss_sum(const at::Tensor& tokens, const at::Tensor& targets) const {
    const at::Tensor log_p = at::log_softmax(logits(tokens), -1);
    return -log_p.gather(2, targets.unsqueeze(2)).sum();
  }

 private:
  at::Tensor norm(const at::Tensor& x, const std::string& name) const {
    const at::Tensor mean = x.mean(-1, true);
    const at::Tensor variance = (x - mean).square().mean(-1, true);
    return (x - mean) / (variance + settings_.layer_norm_epsilon).sqrt() * p_.at(name + ".weight") +
           p_.at(name + ".bias");
  }
  at::Tensor conv1d(const at::Tensor& x, const std::string& name) const {
    return at::matmul(x, p_.at(name + ".weight")) + p_.at(name + ".bias");
  }
  at::Tensor attention(const at::Tensor& qkv) const {
    const int64_t b = qkv.size(0), t = qkv.size(1), c = settings_.n_embd, h = settings_.n_head;
    const auto head = [&](int64_t i) {
      return qkv.narrow(2, i * c, c).reshape({b, t, h, c / h}).transpose(1, 2);
    };
    at::Tensor scores = at::matmul(head(0), head(1).transpose(2, 3)) / std::sqrt(double(c / h));
    scores = scores.masked_fill(at::ones({t, t}).triu(1).to(at::kBool), -1e30);
    return at::matmul(at::softmax(scores, -1), head(2)).transpose(1, 2).reshape({b, t, c});
  }
  static at::Tensor gelu_new(const at::Tensor& x) {
    return 0.5 * x * (1.0 + at::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x.pow(3))));
  }

  Gpt2Settings settings_;
  std::map<std::string, at::Tensor> p_;
};

}  // namespace trireme::model::testing_support
