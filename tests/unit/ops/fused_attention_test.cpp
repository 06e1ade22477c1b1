#include "ops/fused_attention.h"

#include "ops/reference.h"

#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

TEST(FusedAttention, HopperPrefersCudnn) {
  using testing::ElementsAre;
  for (const char* capability : {"8.0", "8.6", "8.9", "7.5", ""})
    EXPECT_THAT(preferred_attention(capability), ElementsAre(FusedAttention::flash, FusedAttention::cudnn)) << capability;
  for (const char* capability : {"9.0", "10.0", "12.0"})
    EXPECT_THAT(preferred_attention(capability), ElementsAre(FusedAttention::cudnn, FusedAttention::flash)) << capability;
}

// What devices without such kernels do.
TEST(FusedAttention, PlainOperationsAgreeWithTheReference) {
  at::manual_seed(1);
  const at::Tensor qkv = at::randn({2, 33, 3 * 2 * 8});
  std::vector<at::Tensor> results;
  for (const auto& attention : {fused_causal_attention, reference::causal_attention}) {
    const at::Tensor x = qkv.clone().requires_grad_(true);
    const at::Tensor y = attention(x, 2);
    torch::autograd::backward({(y * y).sum()});
    results.insert(results.end(), {y.detach(), x.grad()});
  }
  EXPECT_TRUE(at::allclose(results[0], results[2], 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(results[1], results[3], 1e-5, 1e-5));
}

}  // namespace
}  // namespace trireme::ops
