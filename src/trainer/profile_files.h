#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <trireme/comm/world.h>
#include <trireme/report/run_paths.h>

namespace trireme::trainer {

/// Where profiles lie in the run folder.
class ProfileFiles {
 public:
  explicit ProfileFiles(const report::RunPaths& paths) : paths_(paths) {}

  [[nodiscard]] std::filesystem::path trace() const { return paths_.root / "trace.json.gz"; }
  [[nodiscard]] std::filesystem::path operators() const { return paths_.operators(); }
  /// Files of TensorBoard's profiler plugin, and snapshots of a device's memory.
  [[nodiscard]] std::filesystem::path folder() const { return paths_.root / "profile"; }
  static constexpr std::string_view trace_suffix = ".pt.trace.json.gz", memory_suffix = ".memory.pickle";
  /// As torch.profiler.tensorboard_trace_handler names them: <host>_<pid>.<milliseconds>.
  [[nodiscard]] static std::string stem(const comm::RankInfo& rank, int64_t unix_ms);

  /// Gives the trace that is there the name trace-step-00000012.json.gz, by the first step that operators.json of the same
  /// recording tells, and removes the oldest of these beyond `keep` (the new one counts). Rank 0.
  void make_room(int64_t keep) const;
  /// Removes surplus_files() from folder(), if there is one. Rank 0, when no rank is writing there.
  void drop_surplus(int64_t keep, int ranks) const;

 private:
  report::RunPaths paths_;
};

/// Which of the names in ProfileFiles::folder() are too many. Of each process the newest `keep` of a kind stay, and of all
/// processes together, those of earlier attempts included, the newest `keep` times `ranks`. Names that no profile has stay.
[[nodiscard]] std::vector<std::string> surplus_files(const std::vector<std::string>& names, int64_t keep, int ranks);

}  // namespace trireme::trainer
