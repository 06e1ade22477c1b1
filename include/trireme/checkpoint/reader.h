#pragma once

#include <trireme/checkpoint/manifest.h>
#include <trireme/core/state.h>
#include <trireme/storage/hash.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::checkpoint {

/// Reads a checkpoint, whatever number of ranks wrote it; each rank opens its own. Files are opened
/// when they are first needed, and every stored box is hashed as it is first read, and compared:
/// after an Error, what was read into holds anything. Errors: no_checkpoint if there is no valid
/// manifest, or a name, type or shape is not in it; data_damaged, naming file and tensor, if a
/// shard is missing, damaged or not of this checkpoint; storage if the disk fails. Callable from
/// several threads.
class Reader final : public core::StateReader {
 public:
  explicit Reader(const std::filesystem::path& checkpoint);
  ~Reader() override;

  [[nodiscard]] bool has(const std::string& name) const override;
  [[nodiscard]] core::Scalar scalar(const std::string& name) const override;
  [[nodiscard]] std::vector<int64_t> shape(const std::string& name) const override;
  void read(const std::string& name, const core::Box& box, const at::Tensor& into) const override;

  /// The same into memory: row-major, element_size x box.elements() bytes.
  void read_bytes(const std::string& name, const core::Box& box, std::span<std::byte> into) const;
  [[nodiscard]] at::ScalarType dtype(const std::string& name) const;
  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Reads all files, several at a time by as many threads as there are cores, and compares them
  /// with their hashes. Error data_damaged for the first (as the manifest lists them) that is
  /// damaged, missing, or a shard that does not belong here.
  void verify() const;

 private:
  class Shards;
  [[nodiscard]] const StoredTensor& tensor(const std::string& name) const;
  std::filesystem::path path_;
  Manifest manifest_;
  std::unique_ptr<Shards> shards_;
};

/// The hash of the logical state: names, types, shapes, values and scalars. It does not depend on
/// how many ranks wrote the checkpoint. Reads all of it.
[[nodiscard]] storage::Hash128 state_hash(const Reader& reader);

}  // namespace trireme::checkpoint
