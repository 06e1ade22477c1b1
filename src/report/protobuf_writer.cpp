#include "report/protobuf_writer.h"

#include <bit>

namespace trireme::report {
namespace {

enum : uint32_t { wire_varint = 0, wire_64_bits = 1, wire_length = 2, wire_32_bits = 5 };

}  // namespace

void append_little_endian(std::string& to, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) to.push_back(static_cast<char>((value >> (8 * i)) & 0xffU));
}

void ProtobufWriter::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) message_.push_back(static_cast<char>(value | 0x80U));
  message_.push_back(static_cast<char>(value));
}

void ProtobufWriter::tag(uint32_t field, uint32_t wire_type) {
  varint((uint64_t{field} << 3) | wire_type);
}

void ProtobufWriter::integer(uint32_t field, int64_t value) {
  tag(field, wire_varint);
  varint(static_cast<uint64_t>(value));
}

void ProtobufWriter::number(uint32_t field, double value) {
  tag(field, wire_64_bits);
  append_little_endian(message_, std::bit_cast<uint64_t>(value), 8);
}

void ProtobufWriter::number(uint32_t field, float value) {
  tag(field, wire_32_bits);
  append_little_endian(message_, std::bit_cast<uint32_t>(value), 4);
}

void ProtobufWriter::bytes(uint32_t field, std::string_view value) {
  tag(field, wire_length);
  varint(value.size());
  message_.append(value);
}

void ProtobufWriter::numbers(uint32_t field, std::span<const double> values) {
  tag(field, wire_length);
  varint(8 * values.size());
  for (const double value : values)
    append_little_endian(message_, std::bit_cast<uint64_t>(value), 8);
}

}  // namespace trireme::report
