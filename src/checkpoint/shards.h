#pragma once

#include <trireme/checkpoint/reader.h>
#include <trireme/storage/safetensors.h>

#include "checkpoint/box_bytes.h"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

namespace trireme::checkpoint {

/// The shard files of a checkpoint, opened and checked as they are needed.
class Reader::Shards {
 public:
  Shards(std::filesystem::path checkpoint, const Manifest& manifest)
      : checkpoint_(std::move(checkpoint)), manifest_(manifest), files_(manifest.files.size()) {}

  /// Has `take` read of the bytes of a box, the first time compares all of them with their hash.
  /// Error data_damaged: what was read is then worth nothing.
  void read(const std::string& tensor, const StoredTensor& stored, const StoredBox& box,
            const std::function<void(BoxBytes&)>& take);
  void verify_file(size_t file);

 private:
  const storage::SafetensorsFile& open(size_t file);

  const std::filesystem::path checkpoint_;
  const Manifest& manifest_;
  std::mutex guard_;  // of what follows
  std::vector<std::unique_ptr<storage::SafetensorsFile>> files_;
  std::unordered_set<const StoredBox*> verified_;
};

}  // namespace trireme::checkpoint
