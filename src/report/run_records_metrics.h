#pragma once

#include "run_records_columns.h"
#include "run_records_files.h"

#include <cstdint>
#include <string_view>

namespace trireme::report {

/// metrics.jsonl, of which whole lines are read only where they are drawn: it may have hundreds of
/// megabytes.
struct Metrics {
  int64_t lines = 0;
  Columns drawn;  ///< at most `most`; extremes of loss, step time and gradient norm are among them
  Columns even;   ///< at equal distances: for means
};
[[nodiscard]] Metrics read_metrics(RunFiles& files, size_t most);

/// The number after "key": in a line, of its first occurrence; NaN if there is none.
[[nodiscard]] double number_after(std::string_view line, std::string_view key);

}  // namespace trireme::report
