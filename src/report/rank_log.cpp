#include <trireme/report/rank_log.h>
#include <trireme/report/records.h>

#include "cut_lines.h"

#include <utility>

namespace trireme::report {

namespace {

std::filesystem::path cut_back(std::filesystem::path file, std::optional<int64_t> step) {
  cut_lines_back(file, step);
  return file;
}

}  // namespace

RankLog::RankLog(const RunPaths& paths, int rank, std::string host, int64_t attempt,
                 std::optional<int64_t> resumed_step)
    : rank_(rank),
      host_(std::move(host)),
      attempt_(attempt),
      file_(cut_back(paths.rank_records(rank), resumed_step)) {}

void RankLog::log(const RankRow& row, int64_t step) {
  const auto steps = static_cast<int64_t>(row[index_of(Item::steps)]);
  write_or_lose(lost_, "a record of this rank is",
                [&] { file_.append_line(rank_line(row, step, steps, attempt_, rank_, host_)); });
}

}  // namespace trireme::report
