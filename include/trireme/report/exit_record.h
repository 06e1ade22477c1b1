#pragma once

#include <trireme/comm/side_channel.h>
#include <trireme/core/error.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace trireme::report {

/// How the run ended, for scripts: what exit.json holds. Code 0 with kind "done" is success.
struct ExitRecord {
  int code = 0;
  std::string kind = "done";
  int rank = 0;  ///< where it happened
  std::string host;
  int64_t step = -1;
  std::string message;
  std::string hint;
  bool resumable = false;
};

/// Whether starting the same command again, with nothing changed, can help: after a request to
/// stop, a hang or a lost peer.
[[nodiscard]] bool resumable(ErrorKind kind);

[[nodiscard]] ExitRecord exit_record_of(const comm::Failure& failure);
[[nodiscard]] std::string exit_json(const ExitRecord& record, int64_t attempt);

/// Replaces run.dir/exit.json at once and durably, under the folder's present attempt. Written by
/// rank 0, or by the first survivor. Throws kind `storage`.
void write_exit_record(const std::filesystem::path& run_dir, const ExitRecord& record);
void write_exit_record(const std::filesystem::path& run_dir, const comm::Failure& failure);

}  // namespace trireme::report
