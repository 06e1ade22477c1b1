#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace trireme::checkpoint {

/// A replicated tensor to be stored: `rows` equal parts that may go to different ranks.
struct Item {
  int64_t bytes = 0;
  int64_t rows = 1;
};

struct Piece {
  size_t item = 0;
  int64_t first_row = 0;
  int64_t rows = 0;
  bool operator==(const Piece&) const = default;
};

/// Which rank stores what: every row of every item that is not empty exactly once, so that the
/// ranks, which store `own_bytes` of their own already, write about equally much: none more than
/// the level at which all are equal plus one row, or one item that is not cut. Items of at most
/// `smallest_cut` bytes stay whole. A function of its arguments alone: all ranks compute the same.
[[nodiscard]] std::vector<std::vector<Piece>> place(std::span<const Item> items,
                                                    std::span<const int64_t> own_bytes,
                                                    int64_t smallest_cut);

/// The smallest number of bytes a rank may hold at most so that `bytes` more fit on all ranks.
[[nodiscard]] int64_t level_of(std::span<const int64_t> own_bytes, int64_t bytes);

}  // namespace trireme::checkpoint
