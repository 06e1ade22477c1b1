#pragma once

#include <trireme/storage/safetensors.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::storage {

/// The largest header the format allows.
constexpr uint64_t largest_safetensors_header = 100'000'000;

/// What parse_safetensors_header() has against a header.
struct HeaderRefused {
  std::string reason;
};

/// Parses the JSON of a header and checks all of it against `data_bytes`, the size of what follows.
/// Memory stays within a small multiple of the text. Throws HeaderRefused.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(std::string_view json,
                                                         uint64_t data_bytes);

}  // namespace trireme::storage
