#include "checkpoint/shards.h"

#include <trireme/core/error.h>
#include <trireme/storage/file_reader.h>

#include "checkpoint/boxes.h"
#include "checkpoint/damage.h"

#include <fmt/core.h>

namespace trireme::checkpoint {

const storage::SafetensorsFile& Reader::Shards::open(size_t file) {
  const std::lock_guard lock(guard_);
  if (files_[file] != nullptr) return *files_[file];
  const StoredFile& stored = manifest_.files[file];
  check_present(checkpoint_, stored);
  auto opened = std::make_unique<storage::SafetensorsFile>(checkpoint_ / stored.name,
                                                           ErrorKind::data_damaged);
  if (opened->file_bytes() != stored.bytes || opened->header_hash() != stored.header_hash)
    throw_damaged(opened->path(), "the shard's header is damaged or of another checkpoint");
  files_[file] = std::move(opened);
  return *files_[file];
}

void Reader::Shards::read(const std::string& tensor, const StoredTensor& stored,
                          const StoredBox& box, const std::function<void(BoxBytes&)>& take) {
  const storage::SafetensorsFile& file = open(box.file);
  const storage::SafetensorsEntry* entry = file.find(box.entry);
  if (entry == nullptr || entry->dtype != stored.dtype || entry->shape != box.box.size)
    throw_damaged(file.path(),
                  fmt::format("tensor '{}': its part '{}' is not in the shard", tensor, box.entry));
  const bool verified = [&] {
    const std::lock_guard lock(guard_);
    return verified_.contains(&box);
  }();
  BoxBytes bytes(file, *entry, /*hash=*/!verified);
  take(bytes);
  if (verified) return;
  if (bytes.hash() != box.hash)
    throw_damaged(file.path(), fmt::format("tensor '{}' {}: the values do not match their hash",
                                           tensor, to_text(box.box)));
  const std::lock_guard lock(guard_);
  verified_.insert(&box);
}

void Reader::Shards::verify_file(size_t file) {
  const StoredFile& stored = manifest_.files[file];
  check_present(checkpoint_, stored);
  const storage::FileReader reader(checkpoint_ / stored.name);
  if (reader.hash() == stored.hash) return;
  // Which tensor is it?
  for (const auto& [name, tensor] : manifest_.tensors)
    for (const StoredBox& box : tensor.boxes)
      if (box.file == file) read(name, tensor, box, [](BoxBytes&) {});
  throw_damaged(reader.path(), "the shard does not match its hash");
}

}  // namespace trireme::checkpoint
