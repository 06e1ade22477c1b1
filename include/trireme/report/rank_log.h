#pragma once

#include <trireme/report/lost_records.h>
#include <trireme/report/rank_row.h>
#include <trireme/report/run_paths.h>
#include <trireme/storage/append_file.h>

#include <cstdint>
#include <optional>
#include <string>

namespace trireme::report {

/// The rows of one rank in logs/rank003.jsonl, written by that rank, after rank 0 has opened the
/// RunFolder. A row that cannot be written is lost, with a warning.
class RankLog {
 public:
  /// Cuts the file back to `resumed_step` first; without it: to nothing. Throws kind `storage` if
  /// the file cannot be opened or cut.
  RankLog(const RunPaths& paths, int rank, std::string host, int64_t attempt,
          std::optional<int64_t> resumed_step);
  void log(const RankRow& row, int64_t step);

 private:
  int rank_;
  std::string host_;
  int64_t attempt_;
  storage::AppendFile file_;
  LostRecords lost_;
};

}  // namespace trireme::report
