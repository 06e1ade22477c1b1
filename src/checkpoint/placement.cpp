#include "checkpoint/placement.h"

#include <algorithm>

namespace trireme::checkpoint {
namespace {

bool fits(std::span<const int64_t> own_bytes, int64_t bytes, int64_t level) {
  for (const int64_t own : own_bytes) {
    bytes -= std::max<int64_t>(0, level - own);
    if (bytes <= 0) return true;
  }
  return false;
}

}  // namespace

int64_t level_of(std::span<const int64_t> own_bytes, int64_t bytes) {
  int64_t low = *std::min_element(own_bytes.begin(), own_bytes.end());
  int64_t high = low + bytes;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (fits(own_bytes, bytes, middle))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

std::vector<std::vector<Piece>> place(std::span<const Item> items,
                                      std::span<const int64_t> own_bytes, int64_t smallest_cut) {
  int64_t total = 0;
  for (const Item& item : items) total += item.bytes;
  const int64_t level = level_of(own_bytes, total);
  std::vector<std::vector<Piece>> plan(own_bytes.size());
  size_t rank = 0;
  int64_t room = level - own_bytes[0];
  for (size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    if (item.bytes == 0) continue;
    const bool whole = item.bytes <= smallest_cut || item.rows == 1;
    const int64_t unit_rows = whole ? item.rows : 1;
    const int64_t unit_bytes = item.bytes / item.rows * unit_rows;
    for (int64_t row = 0; row < item.rows;) {
      // The units that begin below the level: the last may stick out, so the rooms suffice.
      while (room <= 0) room = level - own_bytes[++rank];
      const int64_t units =
          std::min((item.rows - row) / unit_rows, (room + unit_bytes - 1) / unit_bytes);
      plan[rank].push_back({i, row, units * unit_rows});
      row += units * unit_rows;
      room -= units * unit_bytes;
    }
  }
  return plan;
}

}  // namespace trireme::checkpoint
