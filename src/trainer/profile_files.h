#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

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
  /// As torch.profiler.tensorboard_trace_handler names them: <host>_<pid>.<milliseconds>.
  [[nodiscard]] static std::string stem(const comm::RankInfo& rank, int64_t unix_ms);

  /// Gives the trace that is there the name trace-step-00000012.json.gz, by the first step that operators.json of the same
  /// recording tells, and removes the oldest of these beyond `keep` (the new one counts). Rank 0.
  void make_room(int64_t keep) const;

 private:
  report::RunPaths paths_;
};

/// Now.
[[nodiscard]] int64_t unix_milliseconds();

}  // namespace trireme::trainer
