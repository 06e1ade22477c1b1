#include <trireme/core/error.h>
#include <trireme/core/fragments.h>

#include "support/memory_state.h"

#include <algorithm>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::core {
namespace {

using testing::HasSubstr;

using Shape = std::vector<int64_t>;

// All shapes of this many dimensions with sizes from 0 to 4.
std::vector<Shape> shapes_of(size_t dims) {
  std::vector<Shape> all = {{}};
  for (size_t d = 0; d < dims; ++d) {
    std::vector<Shape> longer;
    for (const Shape& shape : all)
      for (int64_t size = 0; size <= 4; ++size) {
        longer.push_back(shape);
        longer.back().push_back(size);
      }
    all = std::move(longer);
  }
  return all;
}

// Where the box's elements lie in the flattened tensor, in the box's own row-major order; nothing
// if it sticks out.
std::vector<int64_t> positions_of(const Box& box, const Shape& shape) {
  if (box.offset.size() != shape.size() || box.size.size() != shape.size()) return {};
  std::vector<int64_t> all = {0};
  for (size_t d = 0; d < shape.size(); ++d) {
    if (box.offset[d] < 0 || box.size[d] <= 0 || box.offset[d] + box.size[d] > shape[d]) return {};
    std::vector<int64_t> finer;
    for (const int64_t before : all)
      for (int64_t i = 0; i < box.size[d]; ++i)
        finer.push_back(before * shape[d] + box.offset[d] + i);
    all = std::move(finer);
  }
  return all;
}

class BoxesOfRun : public testing::TestWithParam<size_t> {};

// Each box lists its elements in the run's order, so equality with the run itself says that boxes
// are in order, do not overlap, lie inside and leave nothing out.
TEST_P(BoxesOfRun, AreExactlyTheRun) {
  const size_t dims = GetParam();
  const size_t most = std::max<size_t>(1, 2 * dims - std::min<size_t>(1, dims));
  for (const Shape& shape : shapes_of(dims)) {
    const int64_t whole = Box::whole(shape).elements();
    for (int64_t begin = 0; begin <= whole; ++begin)
      for (int64_t elements = 0; begin + elements <= whole; ++elements) {
        const std::vector<RunBox> boxes = boxes_of_run(shape, begin, elements);
        int64_t next = begin;
        bool right = boxes.size() <= most;
        for (const RunBox& one : boxes) {
          right = right && one.offset == next - begin;
          const std::vector<int64_t> positions = positions_of(one.box, shape);
          right = right && !positions.empty();
          for (const int64_t position : positions) right = right && position == next++;
        }
        right = right && next == begin + elements;
        ASSERT_TRUE(right) << testing::PrintToString(shape) << " from " << begin << ", "
                           << elements;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Dimensions, BoxesOfRun, testing::Values(0, 1, 2, 3, 4));

TEST(Fragments, WholeRowsAreOneBox) {
  const std::vector<RunBox> boxes = boxes_of_run({5, 3, 2}, 6, 18);
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_EQ(boxes[0].box, (Box{{1, 0, 0}, {3, 3, 2}}));
}

TEST(Fragments, ARunOutsideOfItsTensorIsABug) {
  EXPECT_ANY_THROW((void)boxes_of_run({2, 3}, -1, 2));
  EXPECT_ANY_THROW((void)boxes_of_run({2, 3}, 5, 2));
  EXPECT_ANY_THROW((void)boxes_of_run({2, 3}, 0, -1));
  EXPECT_ANY_THROW((void)boxes_of_run({2, 0}, 0, 1));
  EXPECT_ANY_THROW((void)boxes_of_run({}, 1, 1));
}

at::Tensor counted(const Shape& shape) {
  return at::arange(Box::whole(shape).elements(), at::kFloat).add_(1.0).reshape(shape);
}

Parameter fragment_of(const at::Tensor& whole, int64_t begin, int64_t end) {
  return {"w", whole.reshape({-1}).narrow(0, begin, end - begin).clone(),
          Fragment{whole.sizes().vec(), begin, true}};
}

void expect_round_trip(const at::Tensor& whole, const std::vector<int64_t>& ends) {
  test::MemoryState state;
  int64_t begin = 0;
  for (const int64_t end : ends) {
    const Parameter part = fragment_of(whole, begin, end);
    save_values(state, "model/w", part, part.tensor);
    begin = end;
  }
  if (whole.numel() == 0) return;  // nobody has anything to save
  ASSERT_TRUE(state.has("model/w"));
  ASSERT_TRUE(at::equal(state.tensors.at("model/w"), whole));
  begin = 0;
  for (const int64_t end : ends) {
    const Parameter part = fragment_of(at::zeros_like(whole), begin, end);
    load_values(state, "model/w", part, part.tensor);
    ASSERT_TRUE(at::equal(part.tensor, whole.reshape({-1}).narrow(0, begin, end - begin)))
        << testing::PrintToString(ends);
    begin = end;
  }
}

TEST(Fragments, AllCutsIntoTwoAndThreeRoundTrip) {
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 4}, Shape{1, 5, 1}, Shape{3, 2, 4},
                             Shape{2, 3, 1, 2}, Shape{4, 0, 2}}) {
    const at::Tensor whole = counted(shape);
    const int64_t n = whole.numel();
    for (int64_t a = 0; a <= n; ++a) {
      expect_round_trip(whole, {a, n});
      for (int64_t b = a; b <= n; ++b) expect_round_trip(whole, {a, b, n});
    }
  }
}

TEST(Fragments, AnotherCutReadsTheSameValues) {
  const at::Tensor whole = counted({3, 5});
  test::MemoryState state;
  for (const Parameter& part : {fragment_of(whole, 0, 7), fragment_of(whole, 7, 15)})
    save_values(state, "w", part, part.tensor);
  const Parameter middle = fragment_of(at::zeros({3, 5}), 4, 13);
  load_values(state, "w", middle, middle.tensor);
  EXPECT_TRUE(at::equal(middle.tensor, whole.reshape({-1}).narrow(0, 4, 9)));
  const Parameter all{"w", at::zeros({3, 5})};
  load_values(state, "w", all, all.tensor);
  EXPECT_TRUE(at::equal(all.tensor, whole));
}

TEST(Fragments, OneOfSeveralEqualOnesSaves) {
  Parameter part = fragment_of(counted({2, 3}), 1, 4);
  part.fragment->saved = false;
  test::MemoryState state;
  save_values(state, "w", part, part.tensor);
  EXPECT_TRUE(state.tensors.empty());
  EXPECT_TRUE(state.scalars.empty());
}

TEST(Fragments, AnEmptyOneSavesAndLoadsNothing) {
  const Parameter empty = fragment_of(counted({2, 3}), 4, 4);
  test::MemoryState state;
  save_values(state, "w", empty, empty.tensor);
  EXPECT_TRUE(state.tensors.empty());
  state.replicated("w", counted({2, 3}));
  load_values(state, "w", empty, empty.tensor);
}

TEST(Fragments, ValuesOfAnotherTypeAndTrainedLeavesRoundTrip) {
  const Parameter low{"w", counted({4}).to(at::kBFloat16).requires_grad_(), Fragment{{2, 4}, 2}};
  const at::Tensor master = at::sin(counted({4})).requires_grad_();
  test::MemoryState state;
  save_values(state, "model/w", low, low.tensor);
  save_values(state, "master/w", low, master);
  EXPECT_EQ(state.tensors.at("model/w").scalar_type(), at::kBFloat16);
  EXPECT_EQ(state.tensors.at("master/w").sizes(), at::IntArrayRef({2, 4}));
  const at::Tensor into = at::zeros({4}).requires_grad_();
  load_values(state, "master/w", low, into);
  EXPECT_TRUE(at::equal(into.detach(), master.detach()));
  EXPECT_TRUE(into.is_leaf());
  EXPECT_TRUE(into.requires_grad());
}

TEST(Fragments, WholeParametersOfAnyLayoutRoundTrip) {
  const at::Tensor values = counted({2, 3, 2, 2}).contiguous(at::MemoryFormat::ChannelsLast);
  const Parameter whole{"w", values};
  test::MemoryState state;
  save_values(state, "w", whole, values);
  EXPECT_TRUE(at::equal(state.tensors.at("w"), counted({2, 3, 2, 2})));
  const at::Tensor into = at::zeros_like(values);
  load_values(state, "w", whole, into);
  EXPECT_TRUE(at::equal(into, values));
  EXPECT_TRUE(into.is_contiguous(at::MemoryFormat::ChannelsLast));
}

template <class F>
Error caught(const F& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::unexpected, "nothing was thrown"};
}

TEST(Fragments, AnotherShapeIsRefusedAndNothingIsRead) {
  test::MemoryState state;
  state.replicated("model/w", counted({3, 2}));
  // As many elements: only the shape tells.
  const Parameter part = fragment_of(at::zeros({2, 3}), 0, 6);
  const Error cut = caught([&] { load_values(state, "model/w", part, part.tensor); });
  EXPECT_EQ(cut.kind(), ErrorKind::no_checkpoint);
  EXPECT_THAT(cut.message(), HasSubstr("'model/w' has another shape"));
  EXPECT_EQ(part.tensor.count_nonzero().item<int64_t>(), 0);
  const Parameter whole{"w", at::zeros({2, 3})};
  EXPECT_EQ(caught([&] { load_values(state, "model/w", whole, whole.tensor); }).kind(),
            ErrorKind::no_checkpoint);
  const Parameter empty = fragment_of(at::zeros({2, 3}), 6, 6);
  EXPECT_EQ(caught([&] { load_values(state, "model/w", empty, empty.tensor); }).kind(),
            ErrorKind::no_checkpoint);
  EXPECT_EQ(caught([&] { load_values(state, "absent", part, part.tensor); }).kind(),
            ErrorKind::no_checkpoint);
}

TEST(Fragments, AParametersShapeIsThatOfTheWhole) {
  EXPECT_EQ(fragment_of(counted({2, 3}), 1, 4).shape(), at::IntArrayRef({2, 3}));
  const Parameter whole{"w", counted({4, 2})};
  EXPECT_EQ(whole.shape(), at::IntArrayRef({4, 2}));
}

}  // namespace
}  // namespace trireme::core
