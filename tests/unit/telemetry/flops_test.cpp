#include <trireme/telemetry/flops.h>

#include <initializer_list>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace trireme::telemetry {
namespace {

struct Value {
  OperatorInput::Kind kind = OperatorInput::Kind::other;
  std::vector<int64_t> values;
};
Value tensor(std::vector<int64_t> sizes) { return {OperatorInput::Kind::tensor, std::move(sizes)}; }
Value numbers(std::vector<int64_t> values) { return {OperatorInput::Kind::numbers, std::move(values)}; }
const Value nothing;

int64_t flops(std::string_view name, std::initializer_list<Value> values) {
  std::vector<OperatorInput> inputs;
  for (const Value& value : values) inputs.push_back({value.kind, value.values});
  return flops_of(name, inputs);
}

TEST(Flops, ProductsOfMatrices) {
  EXPECT_EQ(flops("aten::mm", {tensor({3, 5}), tensor({5, 7})}), 2 * 3 * 5 * 7);
  EXPECT_EQ(flops("aten::addmm", {tensor({7}), tensor({3, 5}), tensor({5, 7})}), 2 * 3 * 5 * 7);
  EXPECT_EQ(flops("aten::bmm", {tensor({2, 3, 5}), tensor({2, 5, 7})}), 2 * 2 * 3 * 5 * 7);
  EXPECT_EQ(flops("aten::baddbmm", {tensor({7}), tensor({2, 3, 5}), tensor({2, 5, 7})}), 2 * 2 * 3 * 5 * 7);
  EXPECT_EQ(flops("aten::linear", {tensor({2, 3, 5}), tensor({7, 5}), tensor({7})}), 2 * 2 * 3 * 5 * 7);
  EXPECT_EQ(flops("aten::mv", {tensor({3, 5}), tensor({5})}), 2 * 3 * 5);
}

TEST(Flops, Convolutions) {
  // 2 images of 4 channels 10 x 12, 6 kernels 3 x 3, stride 2, padding 1: 5 x 6 places.
  const int64_t places = 2 * 5 * 6, kernel = 6 * 4 * 3 * 3;
  const auto forward = {tensor({2, 4, 10, 12}), tensor({6, 4, 3, 3}), nothing,       numbers({2, 2}), numbers({1, 1}),
                        numbers({1, 1}),        numbers({0}),         numbers({0, 0}), numbers({1})};
  EXPECT_EQ(flops("aten::convolution", forward), 2 * places * kernel);
  EXPECT_EQ(flops("aten::mkldnn_convolution",
                  {tensor({2, 4, 10, 12}), tensor({6, 4, 3, 3}), nothing, numbers({1}), numbers({2}), numbers({1}), numbers({1})}),
            2 * places * kernel);
  const auto backward = [&](std::vector<int64_t> mask) {
    return flops("aten::convolution_backward",
                 {tensor({2, 6, 5, 6}), tensor({2, 4, 10, 12}), tensor({6, 4, 3, 3}), numbers({6}), numbers({2, 2}), numbers({1, 1}),
                  numbers({1, 1}), numbers({0}), numbers({0, 0}), numbers({1}), numbers(std::move(mask))});
  };
  EXPECT_EQ(backward({1, 1, 1}), 2 * 2 * places * kernel);
  EXPECT_EQ(backward({0, 1, 1}), 2 * places * kernel);
  // Transposed: every element of the input meets the kernel of its channel.
  EXPECT_EQ(flops("aten::convolution", {tensor({2, 6, 5, 6}), tensor({6, 4, 3, 3}), nothing, numbers({2, 2}), numbers({1, 1}),
                                        numbers({1, 1}), numbers({1}), numbers({1, 1}), numbers({1})}),
            2 * places * kernel);
}

TEST(Flops, Attention) {
  const Value q = tensor({2, 4, 16, 8}), k = tensor({2, 4, 32, 8}), v = tensor({2, 4, 32, 6});
  constexpr int64_t pairs = 2 * 4 * 16 * 32;
  EXPECT_EQ(flops("aten::scaled_dot_product_attention", {q, k, v}), 2 * pairs * (8 + 6));
  EXPECT_EQ(flops("aten::_scaled_dot_product_flash_attention_for_cpu_backward", {tensor({2, 4, 16, 6}), q, k, v}),
            2 * pairs * (3 * 8 + 2 * 6));
}

TEST(Flops, NothingForWhatIsNotUnderstood) {
  EXPECT_EQ(flops("aten::add", {tensor({3, 5}), tensor({3, 5})}), 0);
  EXPECT_EQ(flops("aten::mm", {}), 0);
  EXPECT_EQ(flops("aten::mm", {tensor({3, 5}), nothing}), 0);
  EXPECT_EQ(flops("aten::convolution", {tensor({3}), tensor({3})}), 0);
  EXPECT_EQ(flops("aten::convolution", {tensor({1, 1, 2, 2}), tensor({1, 1, 5, 5}), nothing, numbers({0, 0})}), 0);
}

}  // namespace
}  // namespace trireme::telemetry
