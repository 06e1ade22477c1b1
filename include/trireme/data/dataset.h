#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <trireme/core/batch.h>

namespace trireme::data {

/// Random access to samples. Implementations are immutable after construction and are read by several threads at once.
class Dataset {
 public:
  virtual ~Dataset();
  [[nodiscard]] virtual int64_t size() const = 0;
  /// Reads the samples `ids` (each in [0, size())) into one batch; sets fields and samples. May throw kind `data_damaged`.
  [[nodiscard]] virtual core::Batch read(std::span<const int64_t> ids) const = 0;
  /// Properties the model checks: {"vocab_size", 256}, {"sequence_length", 128}, {"classes", 10}, ... as far as known.
  [[nodiscard]] virtual std::vector<std::pair<std::string, int64_t>> properties() const = 0;
  /// Identity of the content (sizes and checksums of the files): equal on all ranks, and over restarts, for equal data.
  [[nodiscard]] virtual std::string fingerprint() const = 0;
};

}  // namespace trireme::data
