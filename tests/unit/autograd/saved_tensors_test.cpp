#include <trireme/autograd/backward.h>
#include <trireme/autograd/saved_tensors.h>

#include <thread>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::autograd {
namespace {

// Keeps a copy elsewhere and counts.
class CopyProvider final : public SavedTensorProvider {
 public:
  int packed = 0, unpacked = 0;
  bool decline = false;

  std::unique_ptr<SavedTensor> make() override {
    if (decline) return nullptr;
    return std::make_unique<Copy>(*this);
  }

 private:
  class Copy final : public SavedTensor {
   public:
    explicit Copy(CopyProvider& owner) : owner_(owner) {}
    void pack(const at::Tensor& tensor) override {
      ++owner_.packed;
      values_ = tensor.detach().clone();
    }
    at::Tensor unpack() override {
      ++owner_.unpacked;
      return values_;
    }

   private:
    CopyProvider& owner_;
    at::Tensor values_;
  };
};

at::Tensor input() {
  return at::linspace(-1, 1, 6).requires_grad_(true);
}
at::Tensor loss_of(const at::Tensor& x) {
  return (at::tanh(x) * at::sin(x)).sum();
}

struct SavedTensors : testing::Test {
  SavedTensors() { install_engine(); }
};

TEST_F(SavedTensors, AProviderSeesThemAndGradientsAreTheSame) {
  at::Tensor plain = input(), provided = input();
  backward(loss_of(plain));
  CopyProvider provider;
  at::Tensor loss;
  {
    const SavedTensorScope scope(provider);
    loss = loss_of(provided);
  }
  EXPECT_EQ(provider.packed, 4);  // tanh: result; sin: input; mul: both
  EXPECT_EQ(provider.unpacked, 0);
  backward(loss);
  EXPECT_EQ(provider.unpacked, 4);
  EXPECT_TRUE(at::equal(plain.grad(), provided.grad()));
}

TEST_F(SavedTensors, TheEmptyStackSavesNormally) {
  CopyProvider provider;
  { const SavedTensorScope scope(provider); }
  at::Tensor x = input();
  backward(loss_of(x));
  EXPECT_EQ(provider.packed, 0);
}

TEST_F(SavedTensors, TheInnermostProviderDecides) {
  CopyProvider outer, inner;
  at::Tensor x = input();
  const SavedTensorScope a(outer);
  at::Tensor first = at::sin(x);
  at::Tensor second;
  {
    const SavedTensorScope b(inner);
    second = at::tanh(first);
  }
  backward(at::cos(second).sum());
  EXPECT_EQ(outer.packed, 2);
  EXPECT_EQ(inner.packed, 1);
}

TEST_F(SavedTensors, AProviderMayDecline) {
  CopyProvider provider;
  provider.decline = true;
  const SavedTensorScope scope(provider);
  at::Tensor x = input();
  backward(loss_of(x));
  EXPECT_TRUE(x.grad().defined());
}

TEST_F(SavedTensors, OtherThreadsHaveTheirOwnStack) {
  CopyProvider provider;
  const SavedTensorScope scope(provider);
  std::thread([] { backward(loss_of(input())); }).join();
  EXPECT_EQ(provider.packed, 0);
}

TEST(Engine, InstallationIsIdempotentAndThreadSafe) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([] { install_engine(); });
  for (auto& t : threads) t.join();
  at::Tensor x = input();
  backward(loss_of(x));
  EXPECT_TRUE(x.grad().defined());
}

}  // namespace
}  // namespace trireme::autograd
