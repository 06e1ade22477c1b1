#include "data/element.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace trireme::data {
namespace {

struct Property {
  int64_t bytes;
  std::string_view name;
};
constexpr std::array<Property, 11> properties{{{1, "uint8"},
                                               {1, "int8"},
                                               {2, "uint16"},
                                               {2, "int16"},
                                               {4, "uint32"},
                                               {4, "int32"},
                                               {8, "uint64"},
                                               {8, "int64"},
                                               {4, "float32"},
                                               {8, "float64"},
                                               {0, "another type"}}};

template <class From, class To>
void convert_elements(const std::byte* in, int64_t count, std::byte* out) {
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, in + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    const To converted = static_cast<To>(value);
    std::memcpy(out + i * static_cast<int64_t>(sizeof(To)), &converted, sizeof(To));
  }
}

template <class To>
void convert_from(Element from, const std::byte* in, int64_t count, std::byte* out) {
  switch (from) {
    case Element::u8:
      return convert_elements<uint8_t, To>(in, count, out);
    case Element::i8:
      return convert_elements<int8_t, To>(in, count, out);
    case Element::u16:
      return convert_elements<uint16_t, To>(in, count, out);
    case Element::i16:
      return convert_elements<int16_t, To>(in, count, out);
    case Element::u32:
      return convert_elements<uint32_t, To>(in, count, out);
    case Element::i32:
      return convert_elements<int32_t, To>(in, count, out);
    case Element::u64:
      return convert_elements<uint64_t, To>(in, count, out);
    case Element::i64:
      return convert_elements<int64_t, To>(in, count, out);
    case Element::f32:
      return convert_elements<float, To>(in, count, out);
    case Element::f64:
      return convert_elements<double, To>(in, count, out);
    case Element::other:
      break;
  }
  check(false, "conversion of an unknown element type");
}

bool same(Element from, at::ScalarType to) {
  switch (from) {
    case Element::u8:
      return to == at::kByte;
    case Element::i8:
      return to == at::kChar;
    case Element::i16:
      return to == at::kShort;
    case Element::i32:
      return to == at::kInt;
    case Element::i64:
      return to == at::kLong;
    case Element::f32:
      return to == at::kFloat;
    default:
      return false;
  }
}

}  // namespace

int64_t bytes_of(Element element) {
  return properties[static_cast<size_t>(element)].bytes;
}

std::string_view name_of(Element element) {
  return properties[static_cast<size_t>(element)].name;
}

bool is_integer(Element element) {
  return element != Element::f32 && element != Element::f64 && element != Element::other;
}

void convert(Element from, const std::byte* in, int64_t count, at::ScalarType to, std::byte* out) {
  if (same(from, to)) {
    std::copy_n(in, count * bytes_of(from), out);
  } else if (to == at::kLong) {
    convert_from<int64_t>(from, in, count, out);
  } else {
    check(to == at::kFloat, "elements are converted to int64 and float32 only");
    convert_from<float>(from, in, count, out);
  }
}

at::ScalarType tensor_type(Element element) {
  switch (element) {
    case Element::u8:
      return at::kByte;
    case Element::i8:
      return at::kChar;
    case Element::i16:
      return at::kShort;
    case Element::i32:
      return at::kInt;
    case Element::f32:
    case Element::f64:
      return at::kFloat;
    default:
      return at::kLong;
  }
}

}  // namespace trireme::data
