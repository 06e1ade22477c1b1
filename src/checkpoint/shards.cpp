#include "checkpoint/shards.h"

#include <trireme/core/error.h>
#include <trireme/storage/hash.h>

#include "checkpoint/boxes.h"
#include "checkpoint/damage.h"

#include <fmt/core.h>

namespace trireme::checkpoint {

const storage::SafetensorsFile& Reader::Shards::open(size_t file) {
  if (files_[file] != nullptr) return *files_[file];
  const StoredFile& stored = manifest_.files[file];
  check_present(checkpoint_, stored);
  auto opened = std::make_unique<storage::SafetensorsFile>(checkpoint_ / stored.name,
                                                           ErrorKind::data_damaged);
  if (opened->file_bytes() != stored.bytes ||
      storage::hash_of(opened->header_bytes()) != stored.header_hash)
    throw_damaged(opened->path(), "the shard's header is damaged or of another checkpoint");
  files_[file] = std::move(opened);
  return *files_[file];
}

std::span<const std::byte> Reader::Shards::bytes(const std::string& tensor,
                                                 const StoredTensor& stored, const StoredBox& box) {
  const std::lock_guard lock(guard_);
  const storage::SafetensorsFile& file = open(box.file);
  const storage::SafetensorsEntry* entry = file.find(box.entry);
  if (entry == nullptr || entry->dtype != stored.dtype || entry->shape != box.box.size)
    throw_damaged(file.path(),
                  fmt::format("tensor '{}': its part '{}' is not in the shard", tensor, box.entry));
  const std::span<const std::byte> bytes = file.bytes(*entry);
  if (!verified_.contains(&box)) {
    if (storage::hash_of(bytes) != box.hash)
      throw_damaged(file.path(), fmt::format("tensor '{}' {}: the values do not match their hash",
                                             tensor, to_text(box.box)));
    verified_.insert(&box);
  }
  return bytes;
}

void Reader::Shards::verify_file(size_t file) {
  const StoredFile& stored = manifest_.files[file];
  check_present(checkpoint_, stored);
  const storage::MappedFile mapped(checkpoint_ / stored.name);
  if (storage::hash_of(mapped.bytes()) == stored.hash) return;
  // Which tensor is it?
  for (const auto& [name, tensor] : manifest_.tensors)
    for (const StoredBox& box : tensor.boxes)
      if (box.file == file) (void)bytes(name, tensor, box);
  throw_damaged(mapped.path(), "the shard does not match its hash");
}

}  // namespace trireme::checkpoint
