#include "checkpoint/summary.h"

#include "checkpoint/pieces.h"
#include "unit/checkpoint/state.h"
#include "unit/storage/temporary_folder.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

using testing::ElementsAre;

std::span<const std::byte> bytes_of(const at::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

TEST(Pieces, AreTheTensorInOrderAndNeverTooLarge) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{}, {1}, {7}, {4, 5}, {1, 13}, {3, 1, 4}, {2, 3, 4, 5}}) {
    const int64_t elements = core::Box::whole(shape).elements();
    const at::Tensor values = at::arange(elements).view(shape);
    for (int64_t most = 1; most <= elements + 1; ++most) {
      std::vector<at::Tensor> pieces;
      for_each_piece(shape, most, [&](const core::Box& box) {
        EXPECT_LE(box.elements(), most);
        pieces.push_back(test::part(values, box).flatten());
      });
      EXPECT_TRUE(at::equal(at::cat(pieces), values.flatten()));
    }
  }
}

TEST(Pieces, ThereAreNoneOfNothing) {
  for_each_piece({3, 0, 2}, 4, [](const core::Box&) { FAIL(); });
}

TEST(Pieces, AreAsLargeAsTheyMayBe) {
  int pieces = 0;
  for_each_piece({10, 4}, 12, [&](const core::Box&) { ++pieces; });
  EXPECT_EQ(pieces, 4) << "three rows at a time";
}

TEST(Summary, GroupsByWhatATensorIs) {
  EXPECT_EQ(group_of("model/h.0.weight"), "model/");
  EXPECT_EQ(group_of("optim/exp_avg/h.0.weight"), "optim/exp_avg/");
  EXPECT_EQ(group_of("optim/step"), "optim/");
  EXPECT_EQ(group_of("plain"), "");
  EXPECT_EQ(group_of("model/a/b"), "model/");
}

TEST(Summary, OfACheckpoint) {
  const test::TemporaryFolder folder;
  const Reader reader(test::write_state(folder.path(), 1, 3).path);
  auto groups = summarize(reader.manifest());
  std::vector<std::string> prefixes;
  for (const GroupSummary& group : groups) prefixes.push_back(group.prefix);
  EXPECT_THAT(prefixes, ElementsAre("model/", "master/", "buffer/", "optim/", "optim/exp_avg/"));

  int64_t elements = 0, bytes = 0, tensors = 0;
  for (const GroupSummary& group : groups) {
    int64_t of_group = 0;
    for (const TensorSummary& tensor : group.tensors) {
      const at::Tensor values = test::tensors_of().at(group.prefix + tensor.name);
      EXPECT_EQ(tensor.shape, values.sizes().vec());
      EXPECT_EQ(tensor.dtype, values.scalar_type());
      EXPECT_EQ(tensor.elements, values.numel());
      EXPECT_EQ(tensor.bytes, static_cast<int64_t>(values.nbytes()));
      EXPECT_EQ(tensor.parts > 0, values.numel() > 0);
      EXPECT_FALSE(tensor.norms);
      of_group += tensor.bytes;
      ++tensors;
    }
    EXPECT_EQ(group.bytes, of_group);
    elements += group.elements;
    bytes += group.bytes;
  }
  EXPECT_EQ(tensors, static_cast<int64_t>(test::tensors_of().size()));

  add_norms(groups, reader);
  for (const GroupSummary& group : groups) {
    double squares = 0;
    for (const TensorSummary& tensor : group.tensors) {
      const at::Tensor values = test::tensors_of().at(group.prefix + tensor.name).to(at::kDouble);
      ASSERT_TRUE(tensor.norms);
      const double square = values.square().sum().item<double>();
      EXPECT_NEAR(tensor.norms->l2(), std::sqrt(square), 1e-9 * std::sqrt(square)) << tensor.name;
      EXPECT_EQ(tensor.norms->not_finite(), 0);
      if (values.numel() == 0) {
        EXPECT_FALSE(tensor.norms->least());
        EXPECT_FALSE(tensor.norms->most());
      } else {
        EXPECT_EQ(tensor.norms->least(), values.min().item<double>());
        EXPECT_EQ(tensor.norms->most(), values.max().item<double>());
      }
      squares += square;
    }
    EXPECT_NEAR(group.norms->l2(), std::sqrt(squares), 1e-9 * std::sqrt(squares));
  }
}

TEST(Norms, OfEveryType) {
  for (const at::ScalarType type :
       {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kFloat8_e5m2, at::kFloat8_e4m3fn,
        at::kLong, at::kInt, at::kShort, at::kChar}) {
    Norms norms;
    norms.add(type, bytes_of(at::tensor({-3.0, 4.0}).to(type)));
    EXPECT_EQ(norms.l2(), 5.0) << type;
    EXPECT_EQ(norms.least(), -3.0) << type;
    EXPECT_EQ(norms.most(), 4.0) << type;
  }
  for (const at::ScalarType type : {at::kByte, at::kUInt16, at::kUInt32, at::kUInt64}) {
    Norms norms;
    norms.add(type, bytes_of(at::tensor({3.0, 4.0}).to(type)));
    EXPECT_EQ(norms.l2(), 5.0) << type;
  }
  Norms flags;
  flags.add(at::kBool, bytes_of(at::tensor({1, 0, 1}).to(at::kBool)));
  EXPECT_EQ(flags.l2(), std::sqrt(2.0));
  Norms parts;
  parts.add(at::kComplexFloat, bytes_of(at::tensor({3.0F, -4.0F})));
  EXPECT_EQ(parts.l2(), 5.0);
  EXPECT_EQ(parts.least(), -4.0);
}

TEST(Norms, CountWhatIsNotFiniteAndLeaveItOut) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  Norms norms;
  norms.add(at::kFloat, bytes_of(at::tensor({3.0F, inf, -4.0F, -inf, std::nanf("")})));
  EXPECT_EQ(norms.not_finite(), 3);
  EXPECT_EQ(norms.l2(), 5.0);
  EXPECT_EQ(norms.least(), -4.0);
  EXPECT_EQ(norms.most(), 3.0);
  Norms none;
  none.add(at::kFloat, bytes_of(at::tensor({inf})));
  EXPECT_FALSE(none.least());
  EXPECT_EQ(none.l2(), 0.0);
}

TEST(Norms, OfLargeDoublesDoNotOverflow) {
  Norms norms;
  norms.add(at::kDouble, bytes_of(at::tensor({3e200, 4e200}, at::kDouble)));
  EXPECT_DOUBLE_EQ(norms.l2(), 5e200);
}

}  // namespace
}  // namespace trireme::checkpoint
