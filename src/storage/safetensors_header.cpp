#include "storage/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>
#include <vector>

#include <c10/core/ScalarType.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace trireme::storage {
namespace {

constexpr size_t most_dimensions = 64;  // what ATen's iterators handle
constexpr size_t longest_name_shown = 200;

std::string shown(std::string_view name) {
  return std::string(name.substr(0, longest_name_shown));
}

/// Receives the JSON text piece by piece: {name: {dtype, shape, data_offsets}, "__metadata__":
/// {key: text}}. Fields of a tensor that the format does not know are passed over.
class HeaderHandler {
 public:
  SafetensorsHeader header;
  std::string reason;

  bool key(std::string& text) {
    if (skipped_levels_ > 0) return true;
    if (place_ == Place::root) return tensor_key(text);
    if (place_ == Place::metadata) {
      metadata_key_ = text;
      return !header.metadata.contains(text) ||
             refuse(fmt::format("__metadata__ has '{}' twice", shown(text)));
    }
    return field_key(text);
  }

  bool start_object(size_t) {
    switch (place_) {
      case Place::outside:
        place_ = Place::root;
        return true;
      case Place::root:
        return start_entry();
      case Place::field:
        return start_skipped() || unexpected("an object");
      default:
        return unexpected("an object");
    }
  }

  bool end_object() {
    if (skipped_levels_ > 0) return end_skipped();
    if (place_ == Place::entry) {
      place_ = Place::root;
      return end_entry();
    }
    place_ = place_ == Place::metadata ? Place::root : Place::outside;
    return true;
  }

  bool start_array(size_t) {
    if (place_ != Place::field) return unexpected("an array");
    if (start_skipped()) return true;
    if (field_ != Field::shape && field_ != Field::offsets) return unexpected("an array");
    place_ = Place::array;
    return true;
  }

  bool end_array() {
    if (skipped_levels_ > 0) return end_skipped();
    place_ = Place::entry;
    return true;
  }

  bool number_unsigned(uint64_t value) {
    if (place_ != Place::array) return scalar("a number");
    if (field_ == Field::shape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return refuse_entry("has a dimension that is too large");
      if (entry_.shape.size() == most_dimensions)
        return refuse_entry(fmt::format("has more than {} dimensions", most_dimensions));
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (offset_count_ == 2) return refuse_entry("has more than two data_offsets");
    offsets_[offset_count_++] = value;
    return true;
  }

  bool string(std::string& text) {
    if (place_ == Place::metadata) return header.metadata.emplace(metadata_key_, text).second;
    if (place_ == Place::field && field_ == Field::dtype) {
      const auto type = scalar_type_of(text);
      if (!type) return refuse_entry(fmt::format("has the unknown dtype '{}'", shown(text)));
      entry_.dtype = *type;
      place_ = Place::entry;
      return true;
    }
    return scalar("a string");
  }

  bool null() { return scalar("null"); }
  bool boolean(bool) { return scalar("a boolean"); }
  bool number_integer(int64_t) { return scalar("a negative number"); }
  bool number_float(double, const std::string&) { return scalar("a fraction or huge number"); }
  bool binary(std::vector<uint8_t>&) { return scalar("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) {
    return refuse(fmt::format("the header is not JSON at its byte {}", position));
  }

 private:
  enum class Place { outside, root, metadata, entry, field, array };
  enum class Field { dtype, shape, offsets, unknown };

  bool tensor_key(const std::string& name) {
    entry_ = {};
    entry_.name = name;
    fields_seen_.fill(false);
    offset_count_ = 0;
    if (name == "__metadata__")
      return !std::exchange(metadata_seen_, true) || refuse("__metadata__ is given twice");
    return names_.insert(name).second || refuse_entry("is given twice");
  }

  bool start_entry() {
    place_ = entry_.name == "__metadata__" ? Place::metadata : Place::entry;
    return true;
  }

  bool field_key(const std::string& name) {
    place_ = Place::field;
    field_ = name == "dtype"          ? Field::dtype
             : name == "shape"        ? Field::shape
             : name == "data_offsets" ? Field::offsets
                                      : Field::unknown;
    if (field_ == Field::unknown) return true;
    return !std::exchange(fields_seen_[static_cast<size_t>(field_)], true) ||
           refuse_entry(fmt::format("has '{}' twice", name));
  }

  bool end_entry() {
    constexpr std::array<const char*, 3> names{"dtype", "shape", "data_offsets"};
    for (size_t i = 0; i < names.size(); ++i)
      if (!fields_seen_[i]) return refuse_entry(fmt::format("has no {}", names[i]));
    if (offset_count_ != 2) return refuse_entry("has fewer than two data_offsets");
    constexpr auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (offsets_[0] > offsets_[1] || offsets_[1] > limit)
      return refuse_entry(
          fmt::format("has the impossible data_offsets [{}, {}]", offsets_[0], offsets_[1]));
    entry_.begin = static_cast<int64_t>(offsets_[0]);
    entry_.end = static_cast<int64_t>(offsets_[1]);
    header.entries.push_back(std::move(entry_));
    return true;
  }

  /// True if the value that starts here belongs to an unknown field and is passed over.
  bool start_skipped() {
    if (field_ != Field::unknown) return false;
    ++skipped_levels_;
    return true;
  }
  bool end_skipped() {
    if (--skipped_levels_ == 0) place_ = Place::entry;
    return true;
  }

  bool scalar(const char* what) {
    if (place_ != Place::field || field_ != Field::unknown) return unexpected(what);
    if (skipped_levels_ == 0) place_ = Place::entry;
    return true;
  }

  bool unexpected(const char* what) {
    switch (place_) {
      case Place::outside:
        return refuse("the header is not a JSON object");
      case Place::metadata:
        return refuse(fmt::format("__metadata__ holds {}", what));
      case Place::root:
        return refuse_entry(fmt::format("is {}, not an object", what));
      default:
        return refuse_entry(fmt::format("has {} where it does not belong", what));
    }
  }
  bool refuse_entry(const std::string& what) {
    return refuse(fmt::format("tensor '{}' {}", shown(entry_.name), what));
  }
  bool refuse(std::string text) {
    reason = std::move(text);
    return false;
  }

  Place place_ = Place::outside;
  Field field_ = Field::unknown;
  size_t skipped_levels_ = 0;
  bool metadata_seen_ = false;
  std::string metadata_key_;
  SafetensorsEntry entry_;
  std::array<bool, 3> fields_seen_{};
  std::array<uint64_t, 2> offsets_{};
  size_t offset_count_ = 0;
  std::unordered_set<std::string> names_;
};

/// Bytes of a tensor of this type and shape; nothing if they, or its strides, do not fit in 63
/// bits.
std::optional<int64_t> tensor_bytes(const SafetensorsEntry& entry) {
  int64_t elements = 1;
  int64_t stride = 1;
  for (const int64_t size : entry.shape)
    if (__builtin_mul_overflow(elements, size, &elements) ||
        __builtin_mul_overflow(stride, std::max<int64_t>(size, 1), &stride))
      return {};
  const auto item = static_cast<int64_t>(c10::elementSize(entry.dtype));
  if (__builtin_mul_overflow(elements, item, &elements) ||
      __builtin_mul_overflow(stride, item, &stride))
    return {};
  return elements;
}

void check_places(const std::vector<SafetensorsEntry>& entries, uint64_t data_bytes) {
  int64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    const auto refuse = [&](const std::string& what) {
      throw HeaderRefused{fmt::format("tensor '{}' {}", shown(entry.name), what)};
    };
    const std::optional<int64_t> bytes = tensor_bytes(entry);
    if (!bytes) refuse("has a shape that is too large");
    if (*bytes != entry.end - entry.begin)
      refuse(fmt::format("needs {} bytes and has {}", *bytes, entry.end - entry.begin));
    if (entry.begin < position) refuse("overlaps the one before it");
    if (entry.begin > position)
      refuse(fmt::format("leaves a hole of {} bytes before it", entry.begin - position));
    position = entry.end;
  }
  if (static_cast<uint64_t>(position) != data_bytes)
    throw HeaderRefused{fmt::format(
        "the tensors take {} bytes and the file has {} after its header", position, data_bytes)};
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes) {
  // The parser would take a zero byte for the end and pass over a byte order mark.
  if (json.empty() || json.front() != '{' || json.find('\0') != std::string_view::npos)
    throw HeaderRefused{"the header is not a JSON object"};
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(json, &handler)) throw HeaderRefused{std::move(handler.reason)};
  SafetensorsHeader header = std::move(handler.header);
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_places(header.entries, data_bytes);
  return header;
}

}  // namespace trireme::storage
