#pragma once

#include <trireme/checkpoint/reader.h>
#include <trireme/storage/safetensors.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

namespace trireme::checkpoint {

/// The shard files of a checkpoint, opened and checked as they are needed.
class Reader::Shards {
 public:
  Shards(std::filesystem::path checkpoint, const Manifest& manifest)
      : checkpoint_(std::move(checkpoint)), manifest_(manifest), files_(manifest.files.size()) {}

  /// The bytes of a box, compared with its hash the first time. Error data_damaged.
  [[nodiscard]] std::span<const std::byte> bytes(const std::string& tensor,
                                                 const StoredTensor& stored, const StoredBox& box);
  void verify_file(size_t file);

 private:
  const storage::SafetensorsFile& open(size_t file);

  const std::filesystem::path checkpoint_;
  const Manifest& manifest_;
  std::mutex guard_;
  std::vector<std::unique_ptr<storage::SafetensorsFile>> files_;
  std::unordered_set<const StoredBox*> verified_;
};

}  // namespace trireme::checkpoint
