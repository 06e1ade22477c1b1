#include <trireme/autograd/backward.h>
#include <trireme/autograd/recompute.h>
#include <trireme/ops/cross_entropy.h>
#include <trireme/ops/dropout.h>

#include "model/gpt2_blocks.h"

#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::model {
namespace {

using Tensors = std::vector<at::Tensor>;

struct Case {
  std::string name;
  double dropout = 0;
  int64_t tokens = 16;  // more than 256 take another attention
  at::ScalarType dtype = at::kFloat;
};

// All units of GPT-2 and its loss, which consumes the logits, as one region each.
class Gpt2Recompute : public testing::TestWithParam<Case> {
 protected:
  Gpt2Recompute() {
    autograd::install_engine();
    settings_ = {.vocab_size = 50,
                 .n_positions = 512,
                 .n_embd = 32,
                 .n_layer = 2,
                 .n_head = 4,
                 .dropout = GetParam().dropout};
    const auto context = [](const std::string& scope) {
      autograd::BuildContext made;
      made.random = core::RandomKey(3);
      made.dtype = GetParam().dtype;
      made.scope = scope;
      return made;
    };
    tokens_ = make_token_embedding(context("wte"), settings_);
    units_.push_back(make_position_embedding(context("wpe"), settings_));
    units_.push_back(make_transformer_block(context("h.0"), settings_));
    units_.push_back(make_transformer_block(context("h.1"), settings_));
    units_.push_back(make_last_norm(context("ln_f"), settings_));
  }

  Tensors gradients(bool recompute) {
    const auto call = [&](autograd::Block& block, const Tensors& inputs) {
      return recompute
                 ? autograd::recomputed(
                       "unit", [&](const Tensors& in) { return block.forward(in); }, inputs)[0]
                 : block.forward(inputs)[0];
    };
    at::manual_seed(1);
    const at::Tensor ids_BT = at::randint(0, 50, {3, GetParam().tokens}, at::kLong);
    at::Tensor keys_B;
    if (GetParam().dropout > 0)
      keys_B = ops::sample_keys(core::RandomKey(9), std::vector<int64_t>{4, 5, 6});
    at::Tensor x = call(*tokens_, {ids_BT});
    for (const auto& unit : units_) x = call(*unit, {x, keys_B});
    const at::Tensor logits = call(*tokens_, {x.flatten(0, 1)});
    autograd::backward(
        ops::cross_entropy_sum(logits, ids_BT.flatten(), {}, {.consume_logits = true}).loss_sum);

    Tensors taken;
    const auto take = [&](const autograd::Block& block) {
      for (const core::Parameter& p : block.parameters()) {
        at::Tensor tensor = p.tensor;
        taken.push_back(tensor.grad().to_dense());
        tensor.mutable_grad().reset();
      }
    };
    take(*tokens_);
    for (const auto& unit : units_) take(*unit);
    return taken;
  }

 private:
  Gpt2Settings settings_;
  std::unique_ptr<autograd::Block> tokens_;
  std::vector<std::unique_ptr<autograd::Block>> units_;
};

TEST_P(Gpt2Recompute, GradientsAreBitEqual) {
  const Tensors expected = gradients(false), again = gradients(true);
  ASSERT_EQ(again.size(), expected.size());
  for (size_t i = 0; i < again.size(); ++i) EXPECT_TRUE(at::equal(again[i], expected[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(All, Gpt2Recompute,
                         testing::Values(Case{"Plain"}, Case{"Dropout", 0.2},
                                         Case{"Long", 0.0, 300}, Case{"LongDropout", 0.1, 300},
                                         Case{"Bf16", 0.1, 16, at::kBFloat16}),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace trireme::model
