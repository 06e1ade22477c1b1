#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace trireme::report {

/// A message in protobuf's wire format (protobuf.dev/programming-guides/encoding), built field by
/// field. Nothing is left out for being a default.
class ProtobufWriter {
 public:
  /// int32, int64, bool and enum fields.
  void integer(uint32_t field, int64_t value);
  void number(uint32_t field, double value);
  void number(uint32_t field, float value);
  /// string and bytes fields, and messages inside.
  void bytes(uint32_t field, std::string_view value);
  /// A repeated double.
  void numbers(uint32_t field, std::span<const double> values);

  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  void tag(uint32_t field, uint32_t wire_type);
  void varint(uint64_t value);

  std::string message_;
};

/// Appends the lowest `count` bytes, the lowest first.
void append_little_endian(std::string& to, uint64_t value, int count);

}  // namespace trireme::report
