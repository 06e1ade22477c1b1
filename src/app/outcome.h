#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include <trireme/comm/world.h>
#include <trireme/guard/run_lock.h>

namespace trireme::app {

/// Where a failure of this command is recorded.
struct ExitFile {
  std::filesystem::path run_dir;  ///< empty: nowhere; another job's exit.json is never touched
  int64_t step = -1;
  std::unique_ptr<guard::RunLock> lock;  ///< let go when the record is written
};

/// Runs `body` as this rank's part of the world and returns the exit code that all ranks agreed on. On success the world is
/// finalized. After a failure anywhere all ranks learn the same verdict through the side channel, the first survivor
/// writes exit.json, and this process ends at once without MPI's finalization, which could wait for a dead peer for ever.
int run_in_world(comm::World& world, const std::function<int()>& body, const std::function<ExitFile()>& exit_file);

/// The rank that the launcher gave this process, before any world exists; 0 where that cannot be told.
[[nodiscard]] int launched_rank() noexcept;

/// Prints an error as a user reads it: message, then the hint.
void print_error(const Error& error);

/// The same before the ranks know each other. Most often all meet the same bad input and rank 0 speaks; what another rank
/// met alone comes as one line with its number some seconds later, unless the launcher has ended the job by then.
void print_before_world(const Error& error);

/// The Error for whatever is being handled; out-of-memory and LibTorch's errors get their own kinds and hints.
[[nodiscard]] Error error_in_flight();

}  // namespace trireme::app
