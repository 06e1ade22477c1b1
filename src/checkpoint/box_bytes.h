#pragma once

#include <trireme/storage/hash.h>
#include <trireme/storage/safetensors.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace trireme::checkpoint {

/// The bytes of a stored box, read from front to end: what is taken may lie anywhere in it, in
/// ascending order. With a hash all bytes are read, and hashed on the way, taken or not.
class BoxBytes {
 public:
  BoxBytes(const storage::SafetensorsFile& file, const storage::SafetensorsEntry& entry, bool hash);

  void take(int64_t offset, std::span<std::byte> into);
  /// Of all bytes, those after the last that was taken too.
  [[nodiscard]] storage::Hash128 hash();

 private:
  void skip_to(int64_t offset);
  void read(std::span<std::byte> into);
  void refill();

  const storage::SafetensorsFile& file_;
  const storage::SafetensorsEntry& entry_;
  std::optional<storage::Hasher> hasher_;
  const int64_t size_;
  int64_t read_ = 0;                // bytes that were read or skipped in the file
  std::vector<std::byte> buffer_;   // those read last, if they were not read into their place
  std::span<std::byte> remaining_;  // of the buffer: not yet taken
};

}  // namespace trireme::checkpoint
