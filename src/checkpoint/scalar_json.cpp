#include "checkpoint/scalar_json.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include <fmt/core.h>

namespace trireme::checkpoint {
namespace {

using Json = nlohmann::json;

Json of(bool value) {
  return value;
}
Json of(int64_t value) {
  return value;
}
Json of(double value) {
  if (std::isfinite(value)) return value;
  return {{"real", std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"}};
}
Json of(const std::string& value) {
  if (is_utf8(value)) return value;
  std::string digits;
  for (const char c : value) digits += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return {{"bytes", digits}};
}

double non_finite(const std::string& name) {
  if (name == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (name == "inf") return std::numeric_limits<double>::infinity();
  if (name == "-inf") return -std::numeric_limits<double>::infinity();
  throw std::invalid_argument("'" + name + "' is no number");
}

std::string from_digits(const std::string& digits) {
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    unsigned value = 0;
    const char* begin = digits.data() + i;
    const char* end = digits.data() + std::min(i + 2, digits.size());
    if (end - begin != 2 || std::from_chars(begin, end, value, 16).ptr != end)
      throw std::invalid_argument("bytes are not pairs of hexadecimal digits");
    bytes += static_cast<char>(value);
  }
  return bytes;
}

}  // namespace

nlohmann::json to_json(const core::Scalar& scalar) {
  return std::visit([](const auto& value) { return of(value); }, scalar);
}

core::Scalar scalar_from(const nlohmann::json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    throw std::invalid_argument("a whole number is too large");
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_object() && json.size() == 1 && json.begin()->is_string()) {
    const auto text = json.begin()->get<std::string>();
    if (json.begin().key() == "real") return non_finite(text);
    if (json.begin().key() == "bytes") return from_digits(text);
  }
  throw std::invalid_argument("a value is no scalar");
}

bool is_utf8(std::string_view text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

}  // namespace trireme::checkpoint
