#include "unit/debug/training.h"

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

class Nobody final : public autograd::UnitAttendant {
 public:
  void before_forward(autograd::Unit&) override {}
  void after_forward(autograd::Unit&) override {}
  void before_backward(autograd::Unit&) override {}
  void after_backward(autograd::Unit&) override {}
};

/// Uses its input `uses` times; each use brings a gradient of other bits.
class Users final : public autograd::Block {
 public:
  Users(const autograd::BuildContext& context, int uses) : Block(context), uses_(uses) {}
  Tensors forward(const Tensors& inputs) override {
    at::Tensor y = at::sin(inputs[0] * 1.3);
    if (uses_ > 1) y = y + at::tanh(inputs[0] * 0.7);
    return {y};
  }

 private:
  int uses_;
};

enum class Outside { none, before, after };

/// The gradient of a leaf behind the input of the unit.
at::Tensor gradient(int uses, Outside outside, bool attended) {
  autograd::Unit unit("users", [uses](const autograd::BuildContext& c) {
    return std::make_unique<Users>(c, uses);
  });
  unit.build({});
  Nobody nobody;
  if (attended) unit.add_attendant(nobody);
  const at::Tensor leaf = at::sin(at::arange(1000, at::kFloat)).requires_grad_();
  const at::Tensor x = leaf * 1.1;
  at::Tensor sum = at::zeros({});
  if (outside == Outside::before) sum = at::exp(x).sum();
  sum = sum + unit(x).sum();
  if (outside == Outside::after) sum = sum + at::exp(x).sum();
  autograd::backward(sum);
  return leaf.grad();
}

bool same_bits(int uses, Outside outside) {
  return at::equal(gradient(uses, outside, false), gradient(uses, outside, true));
}

TEST(AttendedSums, HaveTheSameBitsUnlessThreeSummandsAreGroupedAnew) {
  for (const int uses : {1, 2}) EXPECT_TRUE(same_bits(uses, Outside::none)) << uses;
  for (const Outside outside : {Outside::before, Outside::after})
    EXPECT_TRUE(same_bits(1, outside));
  EXPECT_TRUE(same_bits(2, Outside::before));
}

/// An attended unit sums what its own uses bring before that is added to what came from later uses
/// outside: (out + in) + in becomes out + (in + in). No model here passes a unit such an input.
TEST(AttendedSums, AnInputThatIsUsedTwiceInsideAndLaterOutsideIsSummedInAnotherOrder) {
  const at::Tensor plain = gradient(2, Outside::after, false),
                   attended = gradient(2, Outside::after, true);
  EXPECT_FALSE(at::equal(plain, attended)) << "then the comment above is out of date";
  EXPECT_TRUE(at::allclose(plain, attended, 1e-6, 1e-6));
}

}  // namespace
}  // namespace trireme::debug
