#include "accelerator_test.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/autocast_mode.h>

namespace trireme::emulated {
namespace {

using Tensors = std::vector<at::Tensor>;
using Operation = std::function<Tensors(const Tensors&)>;
class Operations : public AcceleratorTest {
 protected:
  /// The operation gives the same bits from tensors of the device as from those of the CPU, and
  /// changes them alike.
  void expect_same(const std::string& name, const Tensors& inputs,
                   const Operation& operation) const {
    SCOPED_TRACE(name);
    Tensors here, there;
    for (const at::Tensor& input : inputs) {
      here.push_back(input.clone());
      there.push_back(input.to(device_));
    }
    at::manual_seed(1);
    const Tensors expected = operation(here);
    const Tensors found = operation(there);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_TRUE(same_bits(found[i], expected[i])) << "result " << i;
    for (size_t i = 0; i < here.size(); ++i)
      EXPECT_TRUE(same_bits(there[i], here[i])) << "argument " << i;
  }
};

at::Tensor numbers(at::IntArrayRef sizes, at::ScalarType type = at::kFloat) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return at::arange(count, at::kFloat).mul_(0.37).sin_().view(sizes).to(type);
}

TEST_F(Operations, Elementwise) {
  const Tensors two{numbers({3, 5}), numbers({3, 5}) + 0.5};
  expect_same("add", two, [](const Tensors& x) {
    return Tensors{x[0] + x[1], x[0].add(x[1], 0.5), x[0] + 1};
  });
  expect_same("mul, div, sub", two, [](const Tensors& x) {
    return Tensors{x[0] * x[1], x[0] / x[1], 1 - x[0]};
  });
  expect_same("in place", two, [](const Tensors& x) {
    x[0].add_(x[1]).mul_(2).clamp_(-1, 1);
    x[1].t().zero_();
    x[1].select(0, 1).fill_(3);
    return Tensors{};
  });
  expect_same("where", two, [](const Tensors& x) {
    return Tensors{at::where(x[0] > x[1], x[0], x[1]), x[0].isfinite(), x[0].isnan()};
  });
  expect_same("functions", two, [](const Tensors& x) {
    return Tensors{x[0].exp(),     x[1].abs().log(), x[0].tanh(),      at::gelu(x[0], "tanh"),
                   at::gelu(x[0]), at::silu(x[0]),   at::sigmoid(x[0])};
  });
  expect_same("clamp", two, [](const Tensors& x) {
    return Tensors{x[0].clamp(-0.5, 0.5), x[0].clamp_max(0.1), at::minimum(x[0], x[1])};
  });
  expect_same("mixed types", {numbers({4}), numbers({4}, at::kBFloat16)}, [](const Tensors& x) {
    return Tensors{x[0] * x[1], x[1] * 2, x[1].to(at::kDouble), x[0].to(at::kHalf),
                   x[0].to(at::kLong)};
  });
  expect_same("a number of the host", {numbers({4}, at::kBFloat16)}, [](const Tensors& x) {
    return Tensors{x[0] + at::scalar_tensor(0.25, at::kDouble)};
  });
  expect_same("broadcast", {numbers({3, 1, 4}), numbers({5, 1})},
              [](const Tensors& x) { return Tensors{x[0] + x[1]}; });
}

TEST_F(Operations, Reductions) {
  expect_same("sums", {numbers({7, 9})}, [](const Tensors& x) {
    return Tensors{x[0].sum(),     x[0].sum(0), x[0].mean(1, true),   x[0].amax(1),
                   x[0].argmax(1), x[0].norm(), x[0].sum(at::kDouble)};
  });
  expect_same("any, all", {numbers({7})}, [](const Tensors& x) {
    return Tensors{(x[0] > 0).any(), (x[0] > 0).all()};
  });
  expect_same("softmax", {numbers({7, 9})}, [](const Tensors& x) {
    return Tensors{at::softmax(x[0], 1), at::log_softmax(x[0], 1)};
  });
  expect_same("order", {numbers({7, 9})}, [](const Tensors& x) {
    const auto [values, places] = x[0].topk(3, 1);
    const auto [sorted, order] = x[0].sort(1);
    return Tensors{values, places, sorted, order, x[0].cumsum(1)};
  });
}

TEST_F(Operations, Shapes) {
  expect_same("views", {numbers({4, 6})}, [](const Tensors& x) {
    const at::Tensor narrow = x[0].narrow(1, 1, 3);
    narrow.add_(1);
    return Tensors{x[0].view({2, 12}),
                   x[0].t().contiguous(),
                   x[0].reshape({3, 8}),
                   narrow.clone(),
                   x[0].permute({1, 0}).flatten(),
                   x[0].unsqueeze(0).expand({2, 4, 6}).clone(),
                   x[0].unfold(1, 2, 2).clone(),
                   x[0].chunk(2, 1)[1].clone()};
  });
  expect_same("joins", {numbers({4, 6}), numbers({2, 6})}, [](const Tensors& x) {
    return Tensors{at::cat({x[0], x[1]}), at::stack({x[0], x[0]}), at::flip(x[0], {0}),
                   at::roll(x[0], 1, 0), x[0].repeat({2, 1})};
  });
  expect_same("an output that grows", {numbers({4, 6})}, [](const Tensors& x) {
    at::Tensor out = at::empty({0}, x[0].options());
    at::exp_out(out, x[0]);
    at::Tensor values = at::empty({0}, x[0].options()),
               places = at::empty({0}, x[0].options().dtype(at::kLong));
    at::sort_out(values, places, x[0], 1, false);
    return Tensors{out, values, places};
  });
  expect_same("resize", {numbers({4})}, [](const Tensors& x) {
    at::Tensor copy = x[0].clone();
    copy.resize_({2, 4}).zero_();
    at::Tensor other = at::empty({0}, x[0].options());
    other.set_(x[0].storage(), 1, {3}, {1});
    return Tensors{copy, other};
  });
}

TEST_F(Operations, Indices) {
  const at::Tensor rows = at::tensor({2, 0, 2}, at::kLong);
  expect_same("index", {numbers({4, 6}), rows}, [](const Tensors& x) {
    return Tensors{x[0].index_select(0, x[1]), x[0].index({x[1]}), at::embedding(x[0], x[1]),
                   x[0].gather(1, x[1].unsqueeze(1).expand({3, 1})), at::one_hot(x[1], 5)};
  });
  expect_same("index, in place", {numbers({4, 6}), rows, numbers({3, 6})}, [](const Tensors& x) {
    x[0].index_add_(0, x[1], x[2]);
    x[0].index_put_({x[1]}, x[2]);
    x[0].scatter_add_(0, x[1].unsqueeze(1).expand({3, 6}), x[2]);
    x[0].masked_fill_(x[0] > 0.5, -1);
    return Tensors{at::embedding_dense_backward(x[2], x[1], 4, -1, false)};
  });
  expect_same("places", {numbers({4, 6})}, [](const Tensors& x) {
    return Tensors{(x[0] > 0).nonzero(), x[0].masked_select(x[0] > 0)};
  });
}

TEST_F(Operations, Products) {
  for (const auto type : {at::kFloat, at::kBFloat16})
    expect_same(
        at::toString(type), {numbers({4, 6}, type), numbers({6, 5}, type), numbers({5}, type)},
        [](const Tensors& x) {
          return Tensors{x[0].mm(x[1]), at::addmm(x[2], x[0], x[1]),
                         at::linear(x[0], x[1].t(), x[2]), x[0].unsqueeze(0).bmm(x[1].unsqueeze(0)),
                         at::matmul(x[0].view({2, 2, 6}), x[1])};
        });
}

TEST_F(Operations, Networks) {
  expect_same("layer norm", {numbers({4, 6}), numbers({6}), numbers({6})},
              [](const Tensors& x) { return Tensors{at::layer_norm(x[0], {6}, x[1], x[2])}; });
  expect_same("convolution", {numbers({2, 3, 8, 8}), numbers({4, 3, 3, 3}), numbers({4})},
              [](const Tensors& x) {
                const at::Tensor y = at::conv2d(x[0], x[1], x[2], 1, 1);
                return Tensors{y, at::max_pool2d(y, 2), at::adaptive_avg_pool2d(y, {1, 1})};
              });
  expect_same(
      "batch norm",
      {numbers({2, 3, 4, 4}), numbers({3}), numbers({3}), at::zeros({3}), at::ones({3})},
      [](const Tensors& x) {
        return Tensors{at::batch_norm(x[0], x[1], x[2], x[3], x[4], true, 0.1, 1e-5, false)};
      });
  expect_same("cross entropy", {numbers({4, 6}), at::tensor({1, 5, 0, 2}, at::kLong)},
              [](const Tensors& x) {
                return Tensors{at::cross_entropy_loss(x[0], x[1]),
                               at::cross_entropy_loss(x[0], x[1], {}, at::Reduction::Sum)};
              });
}

TEST_F(Operations, AttentionIsThatOfTheCpuWithinRounding) {
  const at::Tensor x = numbers({2, 3, 8, 4});
  const at::Tensor y = x.to(device_);
  const at::Tensor expected = at::scaled_dot_product_attention(x, x, x, {}, 0.0, true);
  EXPECT_TRUE(at::allclose(at::scaled_dot_product_attention(y, y, y, {}, 0.0, true).cpu(), expected,
                           1e-5, 1e-6));
}

TEST_F(Operations, ListsOfTensors) {
  expect_same("foreach", {numbers({4}), numbers({3, 2}), numbers({4}), numbers({3, 2})},
              [](const Tensors& x) {
                const Tensors a{x[0], x[1]}, b{x[2], x[3]};
                at::_foreach_add_(a, b, 0.5);
                at::_foreach_mul_(a, 2);
                at::_foreach_copy_(b, a);
                Tensors all = at::_foreach_norm(a, 2);
                for (const at::Tensor& one : at::_foreach_sqrt(at::_foreach_abs(a)))
                  all.push_back(one);
                return all;
              });
  expect_same("fused", {numbers({4}), numbers({4}), at::zeros({4}), at::zeros({4}), at::zeros({})},
              [](const Tensors& x) {
                at::_foreach_add_(Tensors{x[4]}, 1);
                at::_fused_adamw_(Tensors{x[0]}, Tensors{x[1]}, Tensors{x[2]}, Tensors{x[3]}, {},
                                  Tensors{x[4]}, 1e-2, 0.9, 0.99, 0.1, 1e-8, false, false);
                return Tensors{};
              });
  expect_same("loss scale",
              {at::full({}, 8.0F), at::zeros({}, at::kInt), at::ones({}), numbers({4})},
              [](const Tensors& x) {
                at::Tensor scale = x[0], growth = x[1], found = x[2];
                at::_amp_foreach_non_finite_check_and_unscale_(Tensors{x[3]}, found, scale);
                at::_amp_update_scale_(scale, growth, found, 2.0, 0.5, 1);
                return Tensors{};
              });
}

TEST_F(Operations, Factories) {
  const auto here = at::TensorOptions().device(device_);
  EXPECT_TRUE(same_bits(at::zeros({2, 3}, here), at::zeros({2, 3})));
  EXPECT_TRUE(same_bits(at::full({2}, 7, here.dtype(at::kLong)), at::full({2}, 7, at::kLong)));
  EXPECT_TRUE(same_bits(at::arange(5, here.dtype(at::kLong)), at::arange(5, at::kLong)));
  EXPECT_TRUE(same_bits(at::eye(3, here), at::eye(3)));
  EXPECT_TRUE(same_bits(at::linspace(0, 1, 5, here), at::linspace(0, 1, 5)));
  EXPECT_TRUE(same_bits(at::ones_like(at::zeros({3}, here)), at::ones({3})));
  EXPECT_TRUE(same_bits(at::scalar_tensor(2.5, here.dtype(at::kDouble)),
                        at::scalar_tensor(2.5, at::kDouble)));
  EXPECT_TRUE(at::empty({3}, here).isnan().all().item<bool>()) << "fresh memory is marked";
  EXPECT_EQ(at::empty({0, 3}, here).sum().item<float>(), 0);
}

TEST_F(Operations, RandomNumbersComeFromTheDevicesGenerator) {
  const auto here = at::TensorOptions().device(device_);
  at::Generator generator = at::globalContext().defaultGenerator(device_);
  generator.set_current_seed(7);
  const at::Tensor first = at::randn({4}, here), second = at::rand({4}, here).bernoulli_(0.5);
  const at::Tensor state = generator.get_state();
  const at::Tensor third = at::randint(100, {4}, here);
  at::randn({4});  // the CPU's own
  generator.set_state(state);
  EXPECT_TRUE(at::equal(third, at::randint(100, {4}, here)));
  generator.set_current_seed(7);
  EXPECT_TRUE(at::equal(first, at::randn({4}, here)));
  EXPECT_TRUE(at::equal(second, at::rand({4}, here).bernoulli_(0.5)));
}

TEST_F(Operations, AutocastChoosesTypesAsOnGpus) {
  const at::Tensor x = numbers({4, 4}).to(device_), y = numbers({4}).to(device_);
  at::autocast::set_autocast_dtype(device_type, at::kBFloat16);
  at::autocast::set_autocast_enabled(device_type, true);
  EXPECT_EQ(at::linear(x, x, y).scalar_type(), at::kBFloat16);
  EXPECT_EQ(at::softmax(x.to(at::kBFloat16), 1).scalar_type(), at::kFloat);
  EXPECT_EQ((x + x).scalar_type(), at::kFloat);
  at::autocast::set_autocast_enabled(device_type, false);
  at::autocast::clear_cache();
}

TEST_F(Operations, RefuseToMixMemories) {
  const at::Tensor here = numbers({4}), there = here.to(device_);
  EXPECT_THROW(static_cast<void>(here + there), c10::Error);
  EXPECT_THROW(static_cast<void>(at::cat({here, there})), c10::Error);
  EXPECT_THROW(there.add_(here), c10::Error);
  EXPECT_THROW(
      static_cast<void>(at::embedding(numbers({4, 2}).to(device_), at::tensor({1}, at::kLong))),
      c10::Error);
  EXPECT_NO_THROW(static_cast<void>(there + here[0])) << "single numbers of the host are welcome";
  const at::Tensor other = here.to(c10::Device(device_type, 1));
  EXPECT_THROW(static_cast<void>(there + other), c10::Error);
}

}  // namespace
}  // namespace trireme::emulated
