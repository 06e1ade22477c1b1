#include "data/npy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

#include <fmt/core.h>

namespace trireme::data {
namespace {

/// The text after `'key':` in the header's Python dictionary, blanks removed.
std::string_view value_of(InputFile& in, std::string_view text, std::string_view key) {
  const std::string quoted = fmt::format("'{}':", key);
  const size_t at = text.find(quoted);
  if (at == std::string_view::npos) in.damaged(fmt::format("the header has no '{}'", key));
  text.remove_prefix(at + quoted.size());
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(' ')));
  return text;
}

Element element_of(InputFile& in, std::string_view value) {
  static const std::map<std::string_view, Element> types{
      {"|u1", Element::u8},  {"|i1", Element::i8},  {"|b1", Element::u8},  {"<u2", Element::u16},
      {"<i2", Element::i16}, {"<u4", Element::u32}, {"<i4", Element::i32}, {"<u8", Element::u64},
      {"<i8", Element::i64}, {"<f4", Element::f32}, {"<f8", Element::f64}};
  const std::string_view name =
      value.substr(0, value.find('\'', 1)).substr(std::min<size_t>(1, value.size()));
  const auto found = types.find(name);
  if (found == types.end())
    in.damaged(
        fmt::format("type '{}' is not supported; convert it, e.g. with .astype('<f4')", name));
  return found->second;
}

std::vector<int64_t> shape_of(InputFile& in, std::string_view value) {
  std::vector<int64_t> shape;
  if (!value.starts_with('(')) in.damaged("the header's shape is malformed");
  value.remove_prefix(1);
  int64_t elements = 1;
  for (;;) {
    value.remove_prefix(std::min(value.size(), value.find_first_not_of(" ,")));
    if (value.starts_with(')')) return shape;
    int64_t size = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), size);
    if (error != std::errc() || size < 0 || shape.size() >= 32 ||
        __builtin_mul_overflow(elements, std::max<int64_t>(size, 1), &elements) ||
        elements > (int64_t{1} << 56))
      in.damaged("the header's shape is malformed");
    value.remove_prefix(static_cast<size_t>(end - value.data()));
    shape.push_back(size);
  }
}

}  // namespace

NpyHeader read_npy_header(InputFile& in) {
  std::array<char, 8> start{};
  in.read(start.data(), 8);
  if (std::memcmp(start.data(), "\x93NUMPY", 6) != 0) in.damaged("not a .npy file");
  if (start[6] < 1 || start[6] > 3)
    in.damaged(fmt::format("version {} of the format", static_cast<int>(start[6])));
  std::array<uint8_t, 4> length{};
  in.read(length.data(), start[6] == 1 ? 2 : 4);
  const uint32_t size =
      length[0] | uint32_t{length[1]} << 8 | uint32_t{length[2]} << 16 | uint32_t{length[3]} << 24;
  if (size > (1 << 20)) in.damaged(fmt::format("a header of {} bytes", size));
  std::string text(size, '\0');
  in.read(text.data(), size);

  NpyHeader header;
  header.element = element_of(in, value_of(in, text, "descr"));
  if (value_of(in, text, "fortran_order").starts_with("True"))
    in.damaged("is in Fortran order; save numpy.ascontiguousarray of it");
  header.shape = shape_of(in, value_of(in, text, "shape"));
  return header;
}

}  // namespace trireme::data
