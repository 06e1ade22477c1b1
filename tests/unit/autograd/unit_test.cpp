#include <trireme/autograd/unit.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::autograd {
namespace {

class Affine final : public Block {
 public:
  explicit Affine(const BuildContext& context, bool reversed = false) : Block(context) {
    if (reversed) make_extra();
    weight_ = parameter_normal("weight", {4, 8}, 0.5, 0.02);
    bias_ = parameter_constant("bias", {8}, 0.25);
    if (!reversed) make_extra();
    buffer_constant("count", {}, 3.0);
  }
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
    return {at::addmm(bias_, inputs[0], weight_)};
  }

 private:
  void make_extra() { extra_ = parameter_uniform("extra", {100}, -2.0, 3.0); }
  at::Tensor weight_, bias_, extra_;
};

Unit affine(const std::string& name, bool reversed = false) {
  return Unit(name, [=](const BuildContext& c) { return std::make_unique<Affine>(c, reversed); });
}

at::Tensor find(const core::ParameterSet& set, const std::string& name) {
  for (const auto& p : set)
    if (p.name == name) return p.tensor;
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

BuildContext seeded(uint64_t seed) {
  BuildContext context;
  context.random = core::RandomKey(seed);
  return context;
}

TEST(Unit, PrefixesNamesWithItsOwn) {
  Unit named = affine("h.0");
  named.build(seeded(1));
  const auto set = named.parameters();
  ASSERT_EQ(set.size(), 3u);
  EXPECT_EQ(set[0].name, "h.0.weight");
  EXPECT_EQ(set[1].name, "h.0.bias");
  EXPECT_EQ(named.buffers().at(0).name, "h.0.count");
  EXPECT_TRUE(set[0].tensor.is_leaf());
  EXPECT_TRUE(set[0].tensor.requires_grad());
  EXPECT_FALSE(named.buffers().at(0).tensor.requires_grad());

  Unit unnamed = affine("");
  unnamed.build(seeded(1));
  EXPECT_EQ(unnamed.parameters()[0].name, "weight");
}

TEST(Unit, InitialValuesDependOnSeedAndFullNameOnly) {
  Unit a = affine("a"), reversed = affine("a", true), other_name = affine("b"),
       other_seed = affine("a");
  a.build(seeded(7));
  reversed.build(seeded(7));
  other_name.build(seeded(7));
  other_seed.build(seeded(8));
  for (const char* name : {"weight", "extra"}) {
    const std::string full = std::string("a.") + name;
    const at::Tensor values = find(a.parameters(), full);
    EXPECT_TRUE(at::equal(values, find(reversed.parameters(), full)));
    EXPECT_FALSE(at::equal(values, find(other_name.parameters(), std::string("b.") + name)));
    EXPECT_FALSE(at::equal(values, find(other_seed.parameters(), full)));
  }
  const at::Tensor before = find(a.parameters(), "a.weight").clone();
  a.build(seeded(7));
  EXPECT_TRUE(at::equal(before, find(a.parameters(), "a.weight")));
}

TEST(Unit, DrawsFollowTheirDistributions) {
  class Large final : public Block {
   public:
    explicit Large(const BuildContext& c) : Block(c) {
      parameter_normal("n", {10000}, 1.0, 0.5);
      parameter_uniform("u", {10000}, -1.0, 1.0);
    }
    std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
      return inputs;
    }
  };
  Unit unit("", [](const BuildContext& c) { return std::make_unique<Large>(c); });
  unit.build(seeded(3));
  const at::Tensor n = find(unit.parameters(), "n").detach(),
                   u = find(unit.parameters(), "u").detach();
  EXPECT_NEAR(n.mean().item<double>(), 1.0, 0.03);
  EXPECT_NEAR(n.std().item<double>(), 0.5, 0.02);
  EXPECT_GE(u.min().item<double>(), -1.0);
  EXPECT_LT(u.max().item<double>(), 1.0);
  EXPECT_NEAR(u.mean().item<double>(), 0.0, 0.03);
}

TEST(Unit, LowPrecisionValuesAreTheRoundedOnes) {
  Unit full = affine("a"), half = affine("a");
  full.build(seeded(7));
  BuildContext context = seeded(7);
  context.dtype = at::kBFloat16;
  half.build(context);
  EXPECT_TRUE(at::equal(find(full.parameters(), "a.weight").to(at::kBFloat16),
                        find(half.parameters(), "a.weight")));
}

TEST(Unit, OnMetaNothingIsAllocated) {
  Unit unit = affine("a");
  BuildContext context = seeded(7);
  context.device = at::Device(at::kMeta);
  unit.build(context);
  EXPECT_EQ(core::elements(unit.parameters()), 4 * 8 + 8 + 100);
  EXPECT_TRUE(unit.parameters()[0].tensor.is_meta());
}

TEST(Unit, ForwardAndTrainingFlag) {
  Unit unit = affine("a");
  unit.set_training(false);
  EXPECT_FALSE(unit.built());
  unit.build(seeded(7));
  EXPECT_FALSE(unit.block().training());
  unit.set_training(true);
  EXPECT_TRUE(unit.block().training());
  const at::Tensor y = unit(at::zeros({2, 4}));
  EXPECT_TRUE(at::equal(y, at::full({2, 8}, 0.25)));
}

TEST(Unit, UseBeforeBuildIsABug) {
  Unit unit = affine("a");
  EXPECT_ANY_THROW(unit(at::zeros({2, 4})));
  EXPECT_ANY_THROW((void)unit.parameters());
}

TEST(Unit, TwoParametersOfOneNameAreABug) {
  class Twice final : public Block {
   public:
    explicit Twice(const BuildContext& c) : Block(c) {
      parameter_constant("w", {1}, 0);
      parameter_constant("w", {1}, 0);
    }
    std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
      return inputs;
    }
  };
  Unit unit("", [](const BuildContext& c) { return std::make_unique<Twice>(c); });
  EXPECT_ANY_THROW(unit.build(seeded(1)));
}

}  // namespace
}  // namespace trireme::autograd
