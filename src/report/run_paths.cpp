#include <trireme/report/run_paths.h>

#include <fmt/format.h>

namespace trireme::report {

std::filesystem::path RunPaths::log(int rank) const {
  return logs() / fmt::format("rank{:03}.log", rank);
}

std::filesystem::path RunPaths::rank_records(int rank) const {
  return logs() / fmt::format("rank{:03}.jsonl", rank);
}

}  // namespace trireme::report
