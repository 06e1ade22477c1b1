#pragma once

#include <trireme/core/state.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace trireme::checkpoint {

/// The number of elements, if it and the product of the sizes that are not 0 fit in 55 bits, so
/// that bytes and strides can be computed.
[[nodiscard]] std::optional<int64_t> elements_of(at::IntArrayRef shape);

/// "[offset:size,...]"
[[nodiscard]] std::string to_text(const core::Box& box);

/// Whether the box is of the shape's rank and lies in it.
[[nodiscard]] bool inside(const core::Box& box, at::IntArrayRef shape);

/// What two boxes of one tensor have in common; nothing if that is empty.
[[nodiscard]] std::optional<core::Box> intersect(const core::Box& a, const core::Box& b);

/// Empty if the boxes, all inside the shape, cover each element once; else what is wrong in words.
[[nodiscard]] std::string coverage_problem(at::IntArrayRef shape, std::span<const core::Box> boxes);

/// How `part`, which lies in both boxes, is copied from memory that holds `source` to memory that
/// holds `target`, both row-major: calls f(first element there, first element here, elements) for
/// each run that is contiguous in both, in order.
template <class F>
void for_each_run(const core::Box& part, const core::Box& source, const core::Box& target,
                  const F& f) {
  const size_t dimensions = part.size.size();
  // Dimensions behind `cut` are whole in both, so rows of `cut` follow each other without a gap.
  size_t cut = dimensions;
  int64_t run = 1;
  while (cut > 0) {
    --cut;
    run *= part.size[cut];
    if (part.size[cut] != source.size[cut] || part.size[cut] != target.size[cut]) break;
  }
  std::vector<int64_t> index(cut, 0);
  const auto position = [&](const core::Box& box) {
    int64_t at = 0;
    for (size_t d = 0; d < dimensions; ++d)
      at = at * box.size[d] + (part.offset[d] - box.offset[d]) + (d < cut ? index[d] : 0);
    return at;
  };
  for (;;) {
    f(position(source), position(target), run);
    size_t d = cut;
    while (d > 0 && ++index[d - 1] == part.size[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}

}  // namespace trireme::checkpoint
