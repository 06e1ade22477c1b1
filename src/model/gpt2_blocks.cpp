#include "model/gpt2_blocks.h"

#include <trireme/autograd/recompute.h>
#include <trireme/ops/attention.h>
#include <trireme/ops/bias.h>
#include <trireme/ops/dropout.h>
#include <trireme/ops/embedding.h>
#include <trireme/ops/fp8.h>
#include <trireme/ops/gelu.h>
#include <trireme/ops/linear.h>
#include <trireme/ops/norm.h>

#include <cmath>
#include <limits>
#include <string>

#include <ATen/ATen.h>

namespace trireme::model {

namespace {

using autograd::Block;
using autograd::BuildContext;
using Tensors = std::vector<at::Tensor>;

constexpr double initial_deviation = 0.02;

// On a CPU the way of each operation was chosen by measuring whole steps there; elsewhere fewer passes over memory win.
bool fuses(const at::Tensor& x) { return !x.is_cpu(); }

class TokenEmbedding final : public Block {
 public:
  TokenEmbedding(const BuildContext& context, const Gpt2Settings& s) : Block(context) {
    weight_VC_ = parameter_normal("weight", {s.vocab_size, s.n_embd}, 0.0, initial_deviation);
  }

  Tensors forward(const Tensors& inputs) override {
    const at::Tensor& x = inputs.at(0);
    const bool tokens = at::isIntegralType(x.scalar_type(), false);
    if (fuses(x))
      return {tokens ? ops::embedding(weight_VC_, x)
                     : ops::linear(x, weight_VC_, {}, ops::WeightLayout::out_in)};
    // A sparse gradient: it is added to that of the head, which is dense, touching only used rows.
    if (tokens) return {at::embedding(weight_VC_, x, -1, false, true)};
    return {at::linear(x, weight_VC_)};
  }

 private:
  at::Tensor weight_VC_;
};

class PositionEmbedding final : public Block {
 public:
  PositionEmbedding(const BuildContext& context, const Gpt2Settings& s)
      : Block(context), dropout_(s.dropout), site_(context.scope + ".dropout") {
    weight_ = parameter_normal("weight", {s.n_positions, s.n_embd}, 0.0, initial_deviation);
  }

  Tensors forward(const Tensors& inputs) override {
    const at::Tensor& embeddings_BTC = inputs.at(0);
    const at::Tensor& keys_B = inputs.at(1);
    const at::Tensor x_BTC = embeddings_BTC + weight_.narrow(0, 0, embeddings_BTC.size(1));
    return {keys_B.defined() ? ops::dropout(x_BTC, dropout_, keys_B, site_) : x_BTC};
  }

 private:
  double dropout_;
  std::string site_;
  at::Tensor weight_;
};

class LastNorm final : public Block {
 public:
  LastNorm(const BuildContext& context, const Gpt2Settings& s)
      : Block(context), epsilon_(s.layer_norm_epsilon) {
    weight_C_ = parameter_constant("weight", {s.n_embd}, 1.0);
    bias_C_ = parameter_constant("bias", {s.n_embd}, 0.0);
  }

  Tensors forward(const Tensors& inputs) override {
    const at::Tensor& x = inputs.at(0);
    if (fuses(x)) return {ops::layer_norm(x, {}, weight_C_, bias_C_, epsilon_).y};
    return {at::layer_norm(x, weight_C_.sizes(), weight_C_, bias_C_, epsilon_)};
  }

 private:
  double epsilon_;
  at::Tensor weight_C_, bias_C_;
};

class TransformerBlock final : public Block {
 public:
  TransformerBlock(const BuildContext& context, const Gpt2Settings& s)
      : Block(context),
        heads_(s.n_head),
        dropout_(s.dropout),
        epsilon_(s.layer_norm_epsilon),
        fp8_(context.fp8),
        site_(context.scope) {
    // Projections that add to the residual start smaller, so that the sum over all layers keeps its
    // variance.
    const double residual_deviation =
        initial_deviation / std::sqrt(2.0 * static_cast<double>(s.n_layer));
    const int64_t c = s.n_embd;
    ln_1_ = norm("ln_1", c);
    c_attn_ = projection("attn.c_attn", c, 3 * c, initial_deviation);
    attn_c_proj_ = projection("attn.c_proj", c, c, residual_deviation);
    ln_2_ = norm("ln_2", c);
    c_fc_ = projection("mlp.c_fc", c, s.inner(), initial_deviation);
    mlp_c_proj_ = projection("mlp.c_proj", s.inner(), c, residual_deviation);
  }

  Tensors forward(const Tensors& inputs) override {
    const at::Tensor& x_BTC = inputs.at(0);
    const at::Tensor keys_B = dropout_ > 0.0 ? inputs.at(1) : at::Tensor();
    if (fp8_ || (fuses(x_BTC) && !autograd::SelectiveScope::open())) return {fused(x_BTC, keys_B)};
    const at::Tensor qkv_BTM = normed_and_projected(x_BTC, ln_1_, c_attn_, ".ln_1");
    const at::Tensor a_BTC = attention(qkv_BTM, keys_B);
    const at::Tensor y_BTC = add_projected(x_BTC, a_BTC, attn_c_proj_, keys_B, ".attn");
    const at::Tensor h_BTF = normed_and_projected(y_BTC, ln_2_, c_fc_, ".ln_2");
    return autograd::cheap_part(site_ + ".gelu",
                                [this](const Tensors& part) {
                                  return Tensors{add_projected(part[0], ops::gelu_tanh(part[1]),
                                                               mlp_c_proj_, part[2], ".mlp")};
                                },
                                {y_BTC, h_BTF, keys_B});
  }

 private:
  struct Affine {
    at::Tensor weight, bias;
  };

  // The residual is added by the norm that reads the sum, biases by the products, the last one where the residual is added.
  [[nodiscard]] at::Tensor fused(const at::Tensor& x_BTC, const at::Tensor& keys_B) const {
    constexpr ops::WeightLayout layout = ops::WeightLayout::in_out;
    const auto linear = [this](const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
      return fp8_ ? ops::linear_fp8(x, weight, bias, layout) : ops::linear(x, weight, bias, layout);
    };
    const ops::Normed n = ops::layer_norm(x_BTC, {}, ln_1_.weight, ln_1_.bias, epsilon_);
    const at::Tensor qkv_BTM = linear(n.y, c_attn_.weight, c_attn_.bias);
    const at::Tensor a_BTC =
        dropped(linear(attention(qkv_BTM, keys_B), attn_c_proj_.weight, attn_c_proj_.bias), keys_B, ".attn");
    const ops::Normed m = ops::layer_norm(a_BTC, n.sum, ln_2_.weight, ln_2_.bias, epsilon_);
    const at::Tensor h_BTC =
        fp8_ ? linear(ops::gelu_tanh(linear(m.y, c_fc_.weight, c_fc_.bias)), mlp_c_proj_.weight, {})
             : ops::mlp_gelu(m.y, c_fc_.weight, c_fc_.bias, mlp_c_proj_.weight, layout);
    if (keys_B.defined()) return m.sum + dropped(h_BTC + mlp_c_proj_.bias, keys_B, ".mlp");
    return ops::add_bias(m.sum, h_BTC, mlp_c_proj_.bias);
  }

  Affine norm(const std::string& name, int64_t width) {
    Affine made;
    made.weight = parameter_constant(name + ".weight", {width}, 1.0);
    made.bias = parameter_constant(name + ".bias", {width}, 0.0);
    return made;
  }

  // The weight is [in, out], as in Hugging Face's Conv1D.
  Affine projection(const std::string& name, int64_t in, int64_t out, double deviation) {
    Affine made;
    made.weight = parameter_normal(name + ".weight", {in, out}, 0.0, deviation);
    made.bias = parameter_constant(name + ".bias", {out}, 0.0);
    return made;
  }

  [[nodiscard]] at::Tensor normed(const at::Tensor& x, const Affine& by) const {
    return at::layer_norm(x, by.weight.sizes(), by.weight, by.bias, epsilon_);
  }

  [[nodiscard]] static at::Tensor project(const at::Tensor& x_BTC, const Affine& by) {
    const at::Tensor y = at::addmm(by.bias, x_BTC.flatten(0, 1), by.weight);
    return y.view({x_BTC.size(0), x_BTC.size(1), by.bias.size(0)});
  }

  [[nodiscard]] at::Tensor add_projected(const at::Tensor& residual_BTC, const at::Tensor& x,
                                         const Affine& by, const at::Tensor& keys_B,
                                         const char* site) const {
    if (keys_B.defined()) return residual_BTC + dropped(project(x, by), keys_B, site);
    const at::Tensor y = at::mm(x.flatten(0, 1), by.weight);
    return ops::add_bias(residual_BTC, y.view(residual_BTC.sizes()), by.bias);
  }

  [[nodiscard]] at::Tensor dropped(const at::Tensor& x, const at::Tensor& keys_B,
                                   const char* site) const {
    return keys_B.defined() ? ops::dropout(x, dropout_, keys_B, site_ + site) : x;
  }

  [[nodiscard]] at::Tensor normed_and_projected(const at::Tensor& x_BTC, const Affine& norm,
                                                const Affine& projection, const char* site) const {
    return autograd::cheap_part(
        site_ + site,
        [this, &norm, &projection](const at::Tensor& x) {
          return project(normed(x, norm), projection);
        },
        x_BTC);
  }

  [[nodiscard]] at::Tensor attention(const at::Tensor& qkv_BTM, const at::Tensor& keys_B) const {
    if (keys_B.defined() && qkv_BTM.size(0) > 0) return attention_with_dropout(qkv_BTM, keys_B);
    return ops::causal_attention(qkv_BTM, heads_);
  }

  // The same with probabilities dropped by sample, which is recomputable.
  [[nodiscard]] at::Tensor attention_with_dropout(const at::Tensor& qkv_BTM,
                                                  const at::Tensor& keys_B) const {
    const int64_t b = qkv_BTM.size(0), t = qkv_BTM.size(1), c = qkv_BTM.size(2) / 3;
    const Tensors qkv = qkv_BTM.view({b, t, 3, heads_, c / heads_}).transpose(1, 3).unbind(2);
    const double scale = 1.0 / std::sqrt(static_cast<double>(c / heads_));
    const at::Tensor future =
        at::ones({t, t}, qkv[0].options().dtype(at::kBool).requires_grad(false)).triu(1);
    const at::Tensor scores = at::matmul(qkv[0] * scale, qkv[1].transpose(2, 3))
                                  .masked_fill(future, -std::numeric_limits<double>::infinity());
    const at::Tensor p_BHTT = dropped(at::softmax(scores, -1), keys_B, ".attn.weights");
    return at::matmul(p_BHTT, qkv[2]).transpose(1, 2).reshape({b, t, c});
  }

  int64_t heads_;
  double dropout_;
  double epsilon_;
  bool fp8_;
  std::string site_;
  Affine ln_1_, c_attn_, attn_c_proj_, ln_2_, c_fc_, mlp_c_proj_;
};

}  // namespace

std::unique_ptr<Block> make_token_embedding(const BuildContext& context,
                                            const Gpt2Settings& settings) {
  return std::make_unique<TokenEmbedding>(context, settings);
}
std::unique_ptr<Block> make_position_embedding(const BuildContext& context,
                                               const Gpt2Settings& settings) {
  return std::make_unique<PositionEmbedding>(context, settings);
}
std::unique_ptr<Block> make_transformer_block(const BuildContext& context,
                                              const Gpt2Settings& settings) {
  return std::make_unique<TransformerBlock>(context, settings);
}
std::unique_ptr<Block> make_last_norm(const BuildContext& context, const Gpt2Settings& settings) {
  return std::make_unique<LastNorm>(context, settings);
}

}  // namespace trireme::model
