#include "checkpoint/boxes.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

using core::Box;

/// All boxes with elements inside the shape.
std::vector<Box> boxes_in(const std::vector<int64_t>& shape) {
  std::vector<Box> boxes{{}};
  for (const int64_t extent : shape) {
    std::vector<Box> longer;
    for (const Box& box : boxes)
      for (int64_t offset = 0; offset < extent; ++offset)
        for (int64_t size = 1; offset + size <= extent; ++size) {
          longer.push_back(box);
          longer.back().offset.push_back(offset);
          longer.back().size.push_back(size);
        }
    boxes = longer;
  }
  return boxes;
}

/// The indices of a box's elements in the tensor, in row-major order of the box.
std::vector<int64_t> indices_of(const Box& box, const std::vector<int64_t>& shape) {
  std::vector<int64_t> elements{0};
  for (size_t d = 0; d < shape.size(); ++d) {
    std::vector<int64_t> longer;
    for (const int64_t e : elements)
      for (int64_t i = 0; i < box.size[d]; ++i) longer.push_back(e * shape[d] + box.offset[d] + i);
    elements = longer;
  }
  return elements;
}

const std::vector<std::vector<int64_t>> shapes{{}, {1}, {5}, {3, 4}, {1, 3}, {2, 3, 2}, {3, 1, 2}};

TEST(Boxes, IntersectionsHoldTheCommonElements) {
  for (const auto& shape : shapes)
    for (const Box& a : boxes_in(shape))
      for (const Box& b : boxes_in(shape)) {
        std::vector<int64_t> in_a = indices_of(a, shape), in_b = indices_of(b, shape), common;
        std::sort(in_a.begin(), in_a.end());
        std::sort(in_b.begin(), in_b.end());
        std::set_intersection(in_a.begin(), in_a.end(), in_b.begin(), in_b.end(),
                              std::back_inserter(common));
        const auto both = intersect(a, b);
        ASSERT_EQ(both.has_value(), !common.empty()) << to_text(a) << to_text(b);
        if (both) {
          ASSERT_TRUE(inside(*both, shape));
          ASSERT_EQ(indices_of(*both, shape), common) << to_text(a) << to_text(b);
        }
      }
}

TEST(Boxes, RunsCopyEveryCommonElementOnce) {
  for (const auto& shape : shapes)
    for (const Box& source : boxes_in(shape))
      for (const Box& target : boxes_in(shape)) {
        const auto part = intersect(source, target);
        if (!part) continue;
        const auto from = indices_of(source, shape), wanted = indices_of(target, shape);
        std::vector<int64_t> got(wanted.size(), -1);
        int64_t copied = 0;
        for_each_run(*part, source, target, [&](int64_t there, int64_t here, int64_t count) {
          ASSERT_GT(count, 0);
          for (int64_t i = 0; i < count; ++i)
            got.at(static_cast<size_t>(here + i)) = from.at(static_cast<size_t>(there + i));
          copied += count;
        });
        ASSERT_EQ(copied, part->elements());
        const auto common = indices_of(*part, shape);
        for (size_t i = 0; i < wanted.size(); ++i) {
          const bool is_common = std::find(common.begin(), common.end(), wanted[i]) != common.end();
          ASSERT_EQ(got[i], is_common ? wanted[i] : -1) << to_text(source) << to_text(target);
        }
      }
}

TEST(Boxes, WholeRowsAreOneRun) {
  int runs = 0;
  const auto count_runs = [&](const Box& part, const Box& source, const Box& target) {
    runs = 0;
    for_each_run(part, source, target, [&](int64_t, int64_t, int64_t) { ++runs; });
    return runs;
  };
  const Box all{{0, 0, 0}, {4, 5, 6}};
  EXPECT_EQ(count_runs(all, all, all), 1);
  const Box rows{{1, 0, 0}, {2, 5, 6}};
  EXPECT_EQ(count_runs(rows, all, rows), 1);
  const Box columns{{0, 2, 0}, {4, 2, 6}};
  EXPECT_EQ(count_runs(columns, all, columns), 4);
  const Box corner{{0, 2, 1}, {4, 2, 3}};
  EXPECT_EQ(count_runs(corner, all, corner), 8);
}

TEST(Boxes, InsideKnowsTheEdges) {
  EXPECT_TRUE(inside({{}, {}}, {}));
  EXPECT_TRUE(inside({{3}, {0}}, {3}));
  EXPECT_TRUE(inside({{0, 1}, {2, 2}}, {2, 3}));
  EXPECT_FALSE(inside({{0, 2}, {2, 2}}, {2, 3}));
  EXPECT_FALSE(inside({{-1}, {1}}, {3}));
  EXPECT_FALSE(inside({{0}, {-1}}, {3}));
  EXPECT_FALSE(inside({{4}, {0}}, {3}));
  EXPECT_FALSE(inside({{INT64_MAX}, {INT64_MAX}}, {3}));
  EXPECT_FALSE(inside({{0}, {1}}, {3, 1}));
  EXPECT_FALSE(inside({{0, 0}, {1}}, {3, 1}));
}

TEST(Boxes, CoverageIsExact) {
  // All sets of up to three boxes of a 2 x 3 tensor, against counting.
  const std::vector<int64_t> shape{2, 3};
  const auto boxes = boxes_in(shape);
  int covering = 0;
  const auto judge = [&](const std::vector<Box>& chosen) {
    std::vector<int> hits(6, 0);
    for (const Box& box : chosen)
      for (const int64_t e : indices_of(box, shape)) ++hits[static_cast<size_t>(e)];
    const bool exact = std::all_of(hits.begin(), hits.end(), [](int n) { return n == 1; });
    ASSERT_EQ(coverage_problem(shape, chosen).empty(), exact);
    covering += exact ? 1 : 0;
  };
  judge({});
  for (const Box& a : boxes) {
    judge({a});
    for (const Box& b : boxes) {
      judge({a, b});
      for (const Box& c : boxes) judge({a, b, c});
    }
  }
  EXPECT_GT(covering, 10);
  EXPECT_EQ(coverage_problem({}, {}), "1 of 1 elements are in no box");
  EXPECT_EQ(coverage_problem({0, 4}, {}), "");
  const std::vector<Box> twice(2, Box{{}, {}});
  EXPECT_EQ(coverage_problem({}, twice), "the boxes [] and [] overlap");
}

TEST(Boxes, LargeShapesAreRefused) {
  EXPECT_EQ(elements_of({}), 1);
  EXPECT_EQ(elements_of({3, 0, 5}), 0);
  EXPECT_EQ(elements_of({int64_t{1} << 55}), int64_t{1} << 55);
  EXPECT_FALSE(elements_of({(int64_t{1} << 55) + 1}));
  EXPECT_FALSE(elements_of({INT64_MAX, INT64_MAX}));
  EXPECT_FALSE(elements_of({0, INT64_MAX, INT64_MAX}));
  EXPECT_FALSE(elements_of({-1}));
}

}  // namespace
}  // namespace trireme::checkpoint
