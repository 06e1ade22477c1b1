#pragma once

#include <cstdint>
#include <string_view>

namespace trireme::report {

/// CRC-32C (Castagnoli), as iSCSI uses it (RFC 3720).
[[nodiscard]] uint32_t crc32c(std::string_view bytes);

/// As TFRecord files store it: rotated and moved, so that the checksum of bytes that hold their own
/// checksum is not a constant.
[[nodiscard]] uint32_t masked_crc32c(std::string_view bytes);

}  // namespace trireme::report
