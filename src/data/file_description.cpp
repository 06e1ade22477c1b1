#include "data/file_description.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace trireme::data {
namespace {

class Encoder {
 public:
  void integer(int64_t value) { raw(&value, sizeof value); }
  void text(std::string_view value) {
    integer(static_cast<int64_t>(value.size()));
    raw(value.data(), value.size());
  }
  void attribute(const Attribute& a) {
    text(a.name);
    integer(static_cast<int64_t>(a.value.index()));
    if (const auto* i = std::get_if<int64_t>(&a.value)) integer(*i);
    if (const auto* d = std::get_if<double>(&a.value)) raw(d, sizeof *d);
    if (const auto* s = std::get_if<std::string>(&a.value)) text(*s);
  }
  template <class T>
  void array(const std::vector<T>& values) {
    static_assert(std::has_unique_object_representations_v<T>);
    integer(static_cast<int64_t>(values.size()));
    raw(values.data(), values.size() * sizeof(T));
  }
  std::string take() { return std::move(out_); }

 private:
  void raw(const void* data, size_t size) { out_.append(static_cast<const char*>(data), size); }
  std::string out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}
  int64_t integer() {
    int64_t value = 0;
    raw(&value, sizeof value);
    return value;
  }
  /// A length of things of `unit` bytes each that must still be there.
  size_t length(size_t unit) {
    const auto value = static_cast<uint64_t>(integer());
    if (value > rest_.size() / unit) fail();
    return static_cast<size_t>(value);
  }
  std::string text() {
    std::string value(length(1), '\0');
    raw(value.data(), value.size());
    return value;
  }
  Attribute attribute() {
    Attribute a{text(), int64_t{0}};
    double number = 0;
    switch (integer()) {
      case 0:
        a.value = integer();
        break;
      case 1:
        raw(&number, sizeof number);
        a.value = number;
        break;
      case 2:
        a.value = text();
        break;
      default:
        fail();
    }
    return a;
  }
  template <class T>
  std::vector<T> array() {
    std::vector<T> values(length(sizeof(T)));
    raw(values.data(), values.size() * sizeof(T));
    return values;
  }
  void end() const {
    if (!rest_.empty()) fail();
  }
  [[noreturn]] static void fail() {
    throw Error(ErrorKind::data_damaged, "the description of a data file is malformed",
                std::string(remake_hint));
  }

 private:
  void raw(void* out, size_t size) {
    if (size > rest_.size()) fail();
    if (size > 0) std::memcpy(out, rest_.data(), size);
    rest_.remove_prefix(size);
  }
  std::string_view rest_;
};

std::vector<Attribute> sorted(std::vector<Attribute> attributes) {
  std::ranges::sort(attributes, {}, &Attribute::name);
  return attributes;
}

[[noreturn]] void damaged(const FileDescription& file, const std::string& what) {
  throw Error(ErrorKind::data_damaged, fmt::format("{}: {}", file.path, what),
              std::string(remake_hint));
}

void validate_dataset(const FileDescription& file, const DatasetDescription& d) {
  int64_t bytes = std::max<int64_t>(bytes_of(d.element), 1);
  for (const int64_t size : d.shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes) ||
        bytes > (int64_t{1} << 60))
      damaged(file, fmt::format("dataset `{}` has an impossible shape [{}]", d.name,
                                fmt::join(d.shape, ", ")));
  }
  if (d.element == Element::other) return;
  if (d.offset >= 0 && (d.offset > file.file_bytes || d.bytes() > file.file_bytes - d.offset))
    damaged(file, fmt::format("truncated: dataset `{}` ends at byte {}, the file has {}", d.name,
                              d.offset + d.bytes(), file.file_bytes));
  // Not every file has checksums, but one that has them has them for all data sets.
  if (file.block_bytes == 0) return;
  const int64_t blocks = (d.bytes() + file.block_bytes - 1) / file.block_bytes;
  if (static_cast<int64_t>(d.checksums.size()) != blocks)
    damaged(file, fmt::format("dataset `{}` has {} blocks of data but {} checksums", d.name, blocks,
                              d.checksums.size()));
}

}  // namespace

int64_t DatasetDescription::row_elements() const {
  int64_t count = 1;
  for (size_t i = 1; i < shape.size(); ++i) count *= shape[i];
  return count;
}

const int64_t* DatasetDescription::integer(std::string_view attribute) const {
  for (const Attribute& a : attributes)
    if (a.name == attribute) return std::get_if<int64_t>(&a.value);
  return nullptr;
}

std::string summary(const FileDescription& file) {
  std::vector<const DatasetDescription*> order;
  for (const auto& d : file.datasets) order.push_back(&d);
  std::ranges::sort(order, {}, &DatasetDescription::name);
  std::string text;
  for (const auto* d : order) {
    text += fmt::format("{}|{}|{}", d->name, name_of(d->element), fmt::join(d->shape, ","));
    for (const Attribute& a : sorted(d->attributes))
      text += fmt::format("|{}={}", a.name,
                          std::visit([](const auto& v) { return fmt::format("{}", v); }, a.value));
    text += '\n';
  }
  return text;
}

void validate(const FileDescription& file) {
  if (file.block_bytes < 0 || (file.block_bytes > 0 && file.block_bytes < 512))
    damaged(file, fmt::format("checksums over blocks of {} bytes", file.block_bytes));
  for (const auto& d : file.datasets) validate_dataset(file, d);
  if (file.block_bytes > 0 && storage::hash_of(summary(file)).hex() != file.stored_summary_hash)
    damaged(file, "shapes or attributes are not those that were written (their checksum differs)");
}

std::string encode(const FileDescription& file) {
  Encoder out;
  out.text(file.path);
  out.integer(file.file_bytes);
  out.integer(file.block_bytes);
  out.text(file.stored_summary_hash);
  out.integer(static_cast<int64_t>(file.datasets.size()));
  for (const auto& d : file.datasets) {
    out.text(d.name);
    out.integer(static_cast<int64_t>(d.element));
    out.array(d.shape);
    out.integer(d.offset);
    out.array(d.checksums);
    out.integer(static_cast<int64_t>(d.attributes.size()));
    for (const auto& a : d.attributes) out.attribute(a);
  }
  return out.take();
}

FileDescription decode(std::string_view bytes) {
  Decoder in(bytes);
  FileDescription file;
  file.path = in.text();
  file.file_bytes = in.integer();
  file.block_bytes = in.integer();
  file.stored_summary_hash = in.text();
  file.datasets.resize(in.length(48));
  for (auto& d : file.datasets) {
    d.name = in.text();
    const int64_t element = in.integer();
    if (element < 0 || element > static_cast<int64_t>(Element::other)) Decoder::fail();
    d.element = static_cast<Element>(element);
    d.shape = in.array<int64_t>();
    d.offset = in.integer();
    d.checksums = in.array<storage::Hash128>();
    const size_t attributes = in.length(24);
    for (size_t i = 0; i < attributes; ++i) d.attributes.push_back(in.attribute());
  }
  in.end();
  return file;
}

}  // namespace trireme::data
