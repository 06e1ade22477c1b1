#include "checkpoint/boxes.h"

#include <algorithm>
#include <numeric>

#include <fmt/core.h>

namespace trireme::checkpoint {

std::optional<int64_t> elements_of(at::IntArrayRef shape) {
  constexpr int64_t most = int64_t{1} << 55;
  int64_t elements = 1;
  int64_t extent = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(extent, std::max<int64_t>(size, 1), &extent) ||
        extent > most)
      return {};
    elements *= size;
  }
  return elements;
}

std::string to_text(const core::Box& box) {
  std::string text = "[";
  for (size_t d = 0; d < box.size.size(); ++d)
    text += fmt::format("{}{}:{}", d == 0 ? "" : ",", box.offset[d], box.size[d]);
  return text + "]";
}

bool inside(const core::Box& box, at::IntArrayRef shape) {
  if (box.offset.size() != shape.size() || box.size.size() != shape.size()) return false;
  for (size_t d = 0; d < shape.size(); ++d)
    if (box.offset[d] < 0 || box.size[d] < 0 || box.offset[d] > shape[d] ||
        box.size[d] > shape[d] - box.offset[d])
      return false;
  return true;
}

std::optional<core::Box> intersect(const core::Box& a, const core::Box& b) {
  core::Box both;
  for (size_t d = 0; d < a.size.size(); ++d) {
    const int64_t begin = std::max(a.offset[d], b.offset[d]);
    const int64_t end = std::min(a.offset[d] + a.size[d], b.offset[d] + b.size[d]);
    if (begin >= end) return {};
    both.offset.push_back(begin);
    both.size.push_back(end - begin);
  }
  return both;
}

std::string coverage_problem(at::IntArrayRef shape, std::span<const core::Box> boxes) {
  // Sorted by rows, a box can only overlap those that begin before its last row.
  std::vector<size_t> order(boxes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto first_row = [&](size_t i) {
    return shape.empty() ? 0 : boxes[i].offset[0];
  };
  const auto last_row = [&](size_t i) {
    return shape.empty() ? 0 : boxes[i].offset[0] + boxes[i].size[0] - 1;
  };
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return first_row(a) < first_row(b); });
  int64_t covered = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    covered += boxes[order[i]].elements();
    for (size_t j = i + 1; j < order.size() && first_row(order[j]) <= last_row(order[i]); ++j)
      if (intersect(boxes[order[i]], boxes[order[j]]))
        return fmt::format("the boxes {} and {} overlap", to_text(boxes[order[i]]),
                           to_text(boxes[order[j]]));
  }
  const int64_t all = core::Box::whole(shape).elements();
  if (covered == all) return {};
  return fmt::format("{} of {} elements are in no box", all - covered, all);
}

}  // namespace trireme::checkpoint
