#include <trireme/storage/safetensors.h>

#include "storage/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/ScalarType.h>

#include <fmt/core.h>

namespace trireme::storage {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr size_t length_bytes = 8;

/// Bytes of the header with its length field. Throws HeaderRefused.
size_t header_end(std::span<const std::byte> file) {
  if (file.size() < length_bytes)
    throw HeaderRefused{fmt::format("{} bytes are too few for a header", file.size())};
  uint64_t length = 0;
  std::memcpy(&length, file.data(), length_bytes);
  if (length > largest_safetensors_header)
    throw HeaderRefused{fmt::format("a header of {} bytes is too large", length)};
  if (length > file.size() - length_bytes)
    throw HeaderRefused{
        fmt::format("the header needs {} bytes and the file has {} after its length", length,
                    file.size() - length_bytes)};
  return length_bytes + static_cast<size_t>(length);
}

const char* hint_for(ErrorKind refusal) {
  return refusal == ErrorKind::data_damaged
             ? "restore the file from a copy, or use an older checkpoint"
             : "fetch or export the file again; only the safetensors format is read";
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, ErrorKind refusal)
    : file_(std::make_shared<const MappedFile>(path)) {
  try {
    data_begin_ = header_end(file_->bytes());
    const std::string_view json = file_->text().substr(length_bytes, data_begin_ - length_bytes);
    header_ = parse_safetensors_header(json, file_->bytes().size() - data_begin_);
  } catch (const HeaderRefused& refused) {
    throw Error(refusal, fmt::format("{}: {}", path.native(), refused.reason), hint_for(refusal));
  }
  index_.reserve(header_.entries.size());
  for (size_t i = 0; i < header_.entries.size(); ++i) index_.emplace(header_.entries[i].name, i);
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.entries[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
  return file_->bytes().subspan(data_begin_ + static_cast<size_t>(entry.begin),
                                static_cast<size_t>(entry.end - entry.begin));
}

std::span<const std::byte> SafetensorsFile::header_bytes() const {
  return file_->bytes().first(data_begin_);
}

at::Tensor SafetensorsFile::view(const SafetensorsEntry& entry) const {
  const std::span<const std::byte> values = bytes(entry);
  const size_t alignment = std::min<size_t>(c10::elementSize(entry.dtype), 8);
  if (reinterpret_cast<uintptr_t>(values.data()) % alignment != 0) return copy(entry);
  return at::from_blob(
      const_cast<std::byte*>(values.data()), entry.shape, [keep = file_](void*) {},
      at::TensorOptions(entry.dtype));
}

at::Tensor SafetensorsFile::copy(const SafetensorsEntry& entry) const {
  const std::span<const std::byte> values = bytes(entry);
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions(entry.dtype));
  if (!values.empty()) std::memcpy(tensor.mutable_data_ptr(), values.data(), values.size());
  return tensor;
}

}  // namespace trireme::storage
