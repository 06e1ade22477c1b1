#pragma once

#include <trireme/comm/communicator.h>

#include <filesystem>

namespace trireme::checkpoint {

/// A rank's own folder on a fast disk of its machine, where its part of a checkpoint is written
/// before it goes to the folder of checkpoints: STAGING/trireme-<run>/rank-00003. No other run and
/// no other rank has the same.
class StagingFolder {
 public:
  /// Called by all ranks of the run that writes to `checkpoints`, which exists and which no other
  /// run may be writing to. What an earlier start of the run left in `staging` on this machine is
  /// removed. Error storage, the same on all ranks, if `staging` is no folder that can be written.
  StagingFolder(const std::filesystem::path& staging, const std::filesystem::path& checkpoints,
                comm::Communicator& ranks);
  /// Removes it with all that is in it.
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void remove() noexcept;

  std::filesystem::path of_run_, path_;
};

}  // namespace trireme::checkpoint
