#pragma once

#include <trireme/core/random.h>

#include "optim/entry_optimizer.h"
#include "optim/slices.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace trireme::optim {

/// An entry's arrays in one update. The rules compute in float32: arrays of float32 are in `floats`
/// and worked on in place; those of bfloat16 are null there and in `narrow`.
struct EntryMemory {
  struct Narrow {
    uint16_t* data = nullptr;
    core::RandomKey key;  // of the bits that round it
  };
  Slice floats{};
  std::array<Narrow, 3> narrow;  // values, first, second
  bool any_narrow = false;
  int64_t begin = 0;  // of the first element, in the flattened logical parameter
};

/// For update number `update`. Checks that the gradient is there, float32, and laid out like the
/// parameter.
[[nodiscard]] EntryMemory memory_of(const Entry& entry, int64_t update);

/// So many elements that what is widened stays in the first-level cache.
inline constexpr int64_t piece_elements = 1024;

/// The narrow arrays of a piece in float32.
class WidePiece {
 public:
  /// Points `piece`, which starts at element `from` of the entry, to the widened arrays.
  void load(const EntryMemory& memory, int64_t from, Slice& piece);
  void store(const EntryMemory& memory, int64_t from, int64_t elements) const;

 private:
  alignas(64) std::array<std::array<float, piece_elements>, 3> values_;
};

/// Calls work(Slice) with all arrays in float32: with the whole chunk where they are stored so,
/// else piece by piece.
template <class Work>
void in_float32(const EntryMemory& memory, const Chunk& chunk, const Work& work) {
  if (!memory.any_narrow) return work(part_of(memory.floats, chunk));
  WidePiece wide;
  for (int64_t done = 0; done < chunk.elements; done += piece_elements) {
    const Chunk part{chunk.entry, chunk.offset + done,
                     std::min(piece_elements, chunk.elements - done)};
    Slice piece = part_of(memory.floats, part);
    wide.load(memory, part.offset, piece);
    work(piece);
    wide.store(memory, part.offset, part.elements);
  }
}

}  // namespace trireme::optim
