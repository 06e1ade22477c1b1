#include "checkpoint/difference.h"

#include <trireme/comm/local.h>

#include "unit/checkpoint/state.h"
#include "unit/storage/temporary_folder.h"

#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

class Differences : public testing::Test {
 protected:
  using Tensors = std::map<std::string, at::Tensor>;
  using Scalars = std::map<std::string, core::Scalar>;

  /// Between the state and what `change` makes of it, each written by one rank.
  Difference after(const std::function<void(Tensors&, Scalars&)>& change) {
    Tensors tensors = test::tensors_of();
    Scalars scalars = test::scalars_of();
    const Reader first(write(tensors, scalars));
    change(tensors, scalars);
    const Reader second(write(tensors, scalars));
    const Difference difference = difference_between(first, second);
    EXPECT_EQ(difference.count() == 0, state_hash(first) == state_hash(second));
    EXPECT_EQ(difference_between(second, first).count(), difference.count());
    return difference;
  }

  std::filesystem::path write(const Tensors& tensors, const Scalars& scalars) {
    Writer writer;
    for (const auto& [name, value] : scalars) writer.scalar(name, value);
    for (const auto& [name, values] : tensors) writer.replicated(name, values);
    return writer.commit(*comm::make_local_communicator(), {folder_.path(), ++step_, "r", {}}).path;
  }

  test::TemporaryFolder folder_;
  int64_t step_ = 0;
};

ValueDifference between(const at::Tensor& a, const at::Tensor& b) {
  const auto bytes = [](const at::Tensor& t) {
    return std::span(static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes());
  };
  ValueDifference difference;
  difference.add(a.scalar_type(), bytes(a), b.scalar_type(), bytes(b));
  return difference;
}

TEST_F(Differences, NoneWhateverNumberOfRanksWrote) {
  const Reader one(test::write_state(folder_.path(), 1, 1).path);
  const Reader three(test::write_state(folder_.path(), 2, 3).path);
  const Difference difference = difference_between(one, three);
  EXPECT_EQ(difference.count(), 0U);
  EXPECT_EQ(difference.tensors_compared, static_cast<int64_t>(test::tensors_of().size()));
  EXPECT_EQ(difference.scalars_compared, static_cast<int64_t>(test::scalars_of().size()));
}

TEST_F(Differences, OfValues) {
  const Difference difference = after([](Tensors& tensors, Scalars&) {
    at::Tensor& large = tensors.at("model/large");  // more than one piece
    large[1][2] += 3;
    large[299][999] -= 4;
  });
  ASSERT_EQ(difference.count(), 1U);
  const TensorDifference& one = difference.tensors.at(0);
  EXPECT_EQ(one.name, "model/large");
  EXPECT_EQ(one.first, one.second);
  ASSERT_TRUE(one.values);
  EXPECT_EQ(one.values->differing(), 2);
  EXPECT_EQ(one.values->max_abs(), 4.0);
  const double norm = test::tensors_of().at("model/large").to(at::kDouble).norm().item<double>();
  EXPECT_NEAR(one.values->relative_l2(), 5.0 / norm, 1e-12);
}

TEST_F(Differences, OfNamesShapesAndTypes) {
  const Difference difference = after([](Tensors& tensors, Scalars&) {
    tensors["model/w"] = tensors.at("model/w").view({5, 3});
    tensors["model/bias"] = tensors.at("model/bias").to(at::kFloat);
    tensors["model/new"] = at::ones({2});
    tensors.erase("buffer/count");
  });
  ASSERT_EQ(difference.tensors.size(), 4U);
  const auto& [count, bias, added, w] = std::tie(difference.tensors[0], difference.tensors[1],
                                                 difference.tensors[2], difference.tensors[3]);
  EXPECT_EQ(count.name, "buffer/count");
  EXPECT_TRUE(count.first && !count.second && !count.values);
  EXPECT_EQ(bias.name, "model/bias");
  EXPECT_EQ(bias.first->dtype, at::kBFloat16);
  EXPECT_EQ(bias.second->dtype, at::kFloat);
  ASSERT_TRUE(bias.values) << "types differ, the numbers can be compared";
  EXPECT_EQ(bias.values->differing(), 0);
  EXPECT_EQ(added.name, "model/new");
  EXPECT_TRUE(!added.first && added.second);
  EXPECT_EQ(w.name, "model/w");
  EXPECT_EQ(w.second->shape, (std::vector<int64_t>{5, 3}));
  EXPECT_FALSE(w.values);
  EXPECT_EQ(difference.tensors_compared, static_cast<int64_t>(test::tensors_of().size()) + 1);
}

TEST_F(Differences, OfScalars) {
  const Difference difference = after([](Tensors&, Scalars& scalars) {
    scalars["trainer/step"] = int64_t{1201};
    scalars["trainer/one"] = int64_t{1};  // another type
    scalars["trainer/minus_zero"] = 0.0;  // another number of the same value
    scalars.erase("trainer/name");
    scalars["trainer/z"] = true;
  });
  ASSERT_EQ(difference.scalars.size(), 5U);
  EXPECT_TRUE(difference.tensors.empty());
  EXPECT_EQ(difference.scalars.front().name, "trainer/minus_zero");
  EXPECT_EQ(difference.scalars.back().name, "trainer/z");
  EXPECT_FALSE(difference.scalars.back().first);
  EXPECT_EQ(difference.scalars.back().second, core::Scalar(true));
}

TEST_F(Differences, SameNanIsNone) {
  const auto nan = [](Tensors& tensors, Scalars& scalars) {
    tensors.at("model/w").fill_(std::nan(""));
    scalars["trainer/lr"] = std::nan("");
  };
  Tensors tensors = test::tensors_of();
  Scalars scalars = test::scalars_of();
  nan(tensors, scalars);
  const Reader first(write(tensors, scalars)), second(write(tensors, scalars));
  EXPECT_EQ(difference_between(first, second).count(), 0U);
  const Difference difference = after(nan);
  ASSERT_EQ(difference.tensors.size(), 1U);
  EXPECT_EQ(difference.tensors[0].values->max_abs(), inf);
  EXPECT_EQ(difference.tensors[0].values->differing(), 15);
}

TEST(ValueDifference, CountsBitsWithinATypeAndNumbersBetweenTypes) {
  EXPECT_EQ(between(at::tensor({0.0F}), at::tensor({-0.0F})).differing(), 1);
  EXPECT_EQ(between(at::tensor({0.0F}), at::tensor({-0.0F})).max_abs(), 0.0);
  EXPECT_EQ(between(at::tensor({0.0F}), at::tensor({-0.0})).differing(), 0);
  EXPECT_EQ(between(at::tensor({NAN}), at::tensor({double{NAN}})).differing(), 0);
  EXPECT_EQ(between(at::tensor({1, 2}, at::kLong), at::tensor({1.0, 2.5})).differing(), 1);
}

TEST(ValueDifference, KeepsLargeIntegersApart) {
  const int64_t large = (int64_t{1} << 62) + 1;
  const auto difference =
      between(at::tensor({large}, at::kLong), at::tensor({large + 1}, at::kLong));
  EXPECT_EQ(difference.differing(), 1);
  EXPECT_EQ(difference.max_abs(), 1.0);
}

TEST(ValueDifference, OfComplexNumbersIsThatOfTheirParts) {
  const at::Tensor a = at::view_as_complex(at::tensor({3.0F, 4.0F}).view({1, 2}));
  const at::Tensor b = at::view_as_complex(at::tensor({3.0F, 2.0F}).view({1, 2}));
  EXPECT_EQ(between(a, b).differing(), 1);
  EXPECT_EQ(between(a, b).max_abs(), 2.0);
  EXPECT_DOUBLE_EQ(between(a, b).relative_l2(), 0.4);
}

TEST(ValueDifference, OfZerosIsInfiniteRelatively) {
  EXPECT_EQ(between(at::zeros({2}), at::ones({2})).relative_l2(), inf);
  EXPECT_EQ(between(at::zeros({2}), at::zeros({2})).relative_l2(), 0.0);
  EXPECT_EQ(between(at::full({1}, inf), at::ones({1})).max_abs(), inf);
}

}  // namespace
}  // namespace trireme::checkpoint
