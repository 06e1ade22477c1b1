#include <trireme/precision/scope.h>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include <gtest/gtest.h>

namespace trireme::precision {
namespace {

Precision casting(at::ScalarType type) {
  Precision precision;
  precision.compute = type;
  precision.autocast = true;
  return precision;
}

at::ScalarType product_type() {
  return at::mm(at::ones({2, 2}), at::ones({2, 2})).scalar_type();
}

TEST(PrecisionScope, CastsInsideOnly) {
  EXPECT_EQ(product_type(), at::kFloat);
  {
    const PrecisionScope scope(casting(at::kBFloat16), at::kCPU);
    EXPECT_EQ(product_type(), at::kBFloat16);
  }
  EXPECT_EQ(product_type(), at::kFloat);
}

TEST(PrecisionScope, WithoutAutocastChangesNothing) {
  const PrecisionScope scope(Precision{}, at::kCPU);
  EXPECT_EQ(product_type(), at::kFloat);
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
}

TEST(PrecisionScope, NestsAndRestores) {
  const PrecisionScope outer(casting(at::kBFloat16), at::kCPU);
  {
    const PrecisionScope inner(casting(at::kHalf), at::kCPU);
    EXPECT_EQ(product_type(), at::kHalf);
  }
  EXPECT_EQ(product_type(), at::kBFloat16);
}

TEST(PrecisionScope, AnotherTypeInsideFindsNoCastOfTheOuterOne) {
  const at::Tensor w = at::ones({2, 2}).requires_grad_(), x = at::ones({2, 2});
  const PrecisionScope outer(casting(at::kBFloat16), at::kCPU);
  EXPECT_EQ(at::mm(x, w).scalar_type(), at::kBFloat16);
  {
    const PrecisionScope inner(casting(at::kHalf), at::kCPU);
    EXPECT_EQ(at::mm(x, w).scalar_type(), at::kHalf);
  }
  EXPECT_EQ(at::mm(x, w).scalar_type(), at::kBFloat16);
}

TEST(PrecisionScope, RestoresWhenLeftByAnException) {
  try {
    const PrecisionScope scope(casting(at::kBFloat16), at::kCPU);
    throw 1;
  } catch (int) {
  }
  EXPECT_EQ(product_type(), at::kFloat);
}

TEST(PrecisionScope, SeesParametersThatChangedBetweenScopes) {
  const at::Tensor w = at::ones({2, 2}).requires_grad_();
  const at::Tensor x = at::ones({2, 2});
  for (const double value : {1.0, 2.0, 3.0}) {
    {
      const at::NoGradGuard no_grad;
      w.fill_(value);
    }
    const PrecisionScope scope(casting(at::kBFloat16), at::kCPU);
    EXPECT_EQ(at::mm(x, w)[0][0].item<double>(), 2 * value);
    EXPECT_EQ(at::mm(x, w)[0][0].item<double>(), 2 * value);
  }
}

TEST(PrecisionScope, ParameterGradientsStayFloat32) {
  const at::Tensor w = at::ones({2, 2}).requires_grad_();
  at::Tensor loss;
  {
    const PrecisionScope scope(casting(at::kBFloat16), at::kCPU);
    loss = at::mm(at::ones({2, 2}), w).to(at::kFloat).sum();
  }
  loss.backward();
  EXPECT_EQ(w.grad().scalar_type(), at::kFloat);
  EXPECT_TRUE(w.grad().eq(2.0).all().item<bool>());
}

}  // namespace
}  // namespace trireme::precision
