#pragma once

#include <trireme/storage/safetensors_writer.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace trireme::storage {

/// Where everything of a file is going to lie.
struct SafetensorsWriter::Layout {
  std::vector<SafetensorsEntry> entries;
  std::string header;  ///< with its length field, padded to 8 bytes
  int64_t data_bytes = 0;

  /// Error model_refused for names and types that cannot be written.
  static Layout plan(const std::vector<TensorSpec>& tensors,
                     const std::map<std::string, std::string>& metadata);
};

}  // namespace trireme::storage
