#include <trireme/storage/safetensors.h>

#include "storage/safetensors_header.h"

#include <bit>
#include <span>

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>

#include <fmt/core.h>

namespace trireme::storage {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr size_t length_bytes = 8;

/// The header with its length field. Throws HeaderRefused.
std::string header_text(const FileReader& file) {
  const auto read = [&](char* into, size_t bytes) {
    return file.read(0, std::as_writable_bytes(std::span(into, bytes))) == bytes;
  };
  uint64_t length = 0;
  if (!read(reinterpret_cast<char*>(&length), length_bytes))
    throw HeaderRefused{fmt::format("{} bytes are too few for a header", file.bytes())};
  if (length > largest_safetensors_header)
    throw HeaderRefused{fmt::format("a header of {} bytes is too large", length)};
  const uint64_t rest = static_cast<uint64_t>(file.bytes()) - length_bytes;
  if (length > rest)
    throw HeaderRefused{fmt::format(
        "the header needs {} bytes and the file has {} after its length", length, rest)};
  std::string text(length_bytes + length, '\0');
  if (!read(text.data(), text.size())) throw HeaderRefused{"the file ends inside its header"};
  return text;
}

const char* hint_for(ErrorKind refusal) {
  return refusal == ErrorKind::data_damaged
             ? "restore the file from a copy, or use an older checkpoint"
             : "fetch or export the file again; only the safetensors format is read";
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, ErrorKind refusal)
    : file_(path), refusal_(refusal) {
  try {
    const std::string text = header_text(file_);
    header_bytes_ = static_cast<int64_t>(text.size());
    header_hash_ = hash_of(text);
    header_ = parse_safetensors_header(std::string_view(text).substr(length_bytes),
                                       static_cast<uint64_t>(file_.bytes() - header_bytes_));
  } catch (const HeaderRefused& refused) {
    refuse(refused.reason);
  }
  index_.reserve(header_.entries.size());
  for (size_t i = 0; i < header_.entries.size(); ++i) index_.emplace(header_.entries[i].name, i);
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.entries[found->second];
}

void SafetensorsFile::read(const SafetensorsEntry& entry, int64_t offset,
                           std::span<std::byte> into) const {
  check(offset >= 0 && static_cast<int64_t>(into.size()) <= entry.end - entry.begin - offset,
        "what is read of a tensor lies in it: " + entry.name);
  if (file_.read(header_bytes_ + entry.begin + offset, into) != into.size())
    refuse(fmt::format("tensor '{}': the file has become too short", entry.name));
}

at::Tensor SafetensorsFile::values(const SafetensorsEntry& entry) const {
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions(entry.dtype));
  if (tensor.nbytes() > 0)
    read(entry, 0, {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()});
  return tensor;
}

void SafetensorsFile::refuse(const std::string& reason) const {
  throw Error(refusal_, fmt::format("{}: {}", path().native(), reason), hint_for(refusal_));
}

}  // namespace trireme::storage
