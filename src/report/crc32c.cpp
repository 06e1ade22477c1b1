#include "report/crc32c.h"

#include <array>
#include <cstddef>

namespace trireme::report {
namespace {

constexpr uint32_t reversed_polynomial = 0x82f63b78U;
constexpr size_t slices = 8;

/// tables[k][b]: what byte b does to the checksum k bytes later ("slicing-by-8", Kounavis and
/// Berry 2005).
constexpr auto tables = [] {
  std::array<std::array<uint32_t, 256>, slices> result{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1U) != 0 ? reversed_polynomial : 0);
    result[0][byte] = crc;
  }
  for (size_t slice = 1; slice < slices; ++slice)
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = result[slice - 1][byte];
      result[slice][byte] = (before >> 8) ^ result[0][before & 0xffU];
    }
  return result;
}();

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0U;
  const auto at = [&](size_t i) {
    return static_cast<unsigned char>(bytes[i]);
  };
  size_t i = 0;
  for (; i + slices <= bytes.size(); i += slices) {
    uint32_t next = 0;
    for (size_t k = 0; k < slices; ++k) {
      const uint32_t known = k < 4 ? (crc >> (8 * k)) & 0xffU : 0;
      next ^= tables[slices - 1 - k][known ^ at(i + k)];
    }
    crc = next;
  }
  for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ tables[0][(crc & 0xffU) ^ at(i)];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

}  // namespace trireme::report
