#pragma once

#include <trireme/checkpoint/manifest.h>
#include <trireme/checkpoint/writer.h>
#include <trireme/core/error.h>
#include <trireme/device/mark.h>

#include "checkpoint/host_buffer.h"
#include "checkpoint/placement.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::checkpoint {

/// Tensors larger than this are cut into rows so that the ranks share the writing.
constexpr int64_t smallest_cut_bytes = 1 << 20;

/// The bytes that only this rank holds.
[[nodiscard]] int64_t shard_bytes(const Collected& state);

/// Which rows of which replicated tensors each rank stores.
[[nodiscard]] std::vector<std::vector<Piece>> place_replicated(
    const Collected& state, std::span<const int64_t> shard_bytes_of_rank);

/// Writes a rank's own boxes and its pieces of replicated tensors into a new file.
class ShardWriter {
 public:
  struct Written {
    StoredFile file;
    std::map<std::string, StoredTensor> tensors;  ///< boxes with file 0
  };
  /// Tensors on a device are as the calling thread's current stream leaves them.
  ShardWriter(const Collected& state, std::span<const Piece> pieces);
  /// Copies the parts of the tensors that `which` names into `buffer` and refers to those from now
  /// on.
  void copy(HostBuffer& buffer, const std::function<bool(const std::string&)>& which);
  /// Error `stopped` once `cancelled`.
  [[nodiscard]] Written write(const std::filesystem::path& folder, const std::string& name,
                              const std::map<std::string, std::string>& metadata,
                              const std::atomic<bool>& cancelled) const;

 private:
  struct Part {
    std::string tensor;
    at::IntArrayRef shape;
    core::Box box;
    at::Tensor source;  // the box is its rows from first_row
    int64_t first_row = 0;
    int64_t buffer_offset = 0;  // of its place in the snapshot
    /// Its values, wherever they are.
    [[nodiscard]] at::Tensor values() const;
  };
  std::map<std::string, Part> parts_;  // by name in the file
  int64_t bytes_ = 0;                  // of all parts, each begun on a cache line
  bool of_device_ = false;             // some of them are not in the host's memory,
  device::Mark complete_;              // and computed when this is reached
};

/// What ends a write that was cancelled.
[[nodiscard]] Error given_up();

/// For the way to rank 0.
[[nodiscard]] std::string to_text(const ShardWriter::Written& written);
/// Adds a rank's file and boxes to the manifest.
void add(std::string_view written, Manifest& manifest);

}  // namespace trireme::checkpoint
