#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/state.h>

namespace trireme::trainer {

/// Finds, restores and writes the checkpoints of a run. All ranks call together.
class Checkpoints {
 public:
  Checkpoints(comm::CommunicatorPtr all, const std::filesystem::path& folder, int64_t keep_last)
      : all_(std::move(all)), store_(folder), keep_last_(keep_last) {}

  /// What to go on from: `resume` is auto (the newest valid checkpoint of the folder, if any), never, or a checkpoint's path.
  /// Rank 0 looks and tells the others.
  void find(const std::string& resume);
  [[nodiscard]] bool resumed() const { return reader_.has_value(); }
  /// Of the checkpoint to go on from.
  [[nodiscard]] const core::StateReader& reader() const { return *reader_; }
  [[nodiscard]] std::string stored_identity() const;
  [[nodiscard]] std::string stored_configuration() const;

  /// Components are saved and restored in the order in which they were added.
  void add(core::Stateful& component) { components_.push_back(&component); }
  void restore();

  /// What later checkpoints say of the run: identity keys and all keys of its configuration (config::identity_json,
  /// config::full_json), and the attempt that writes them.
  void label(std::string identity, std::string configuration, int64_t attempt);
  /// On return the checkpoint is complete on disk and older ones beyond keep_last are gone.
  void save(int64_t step);

 private:
  comm::CommunicatorPtr all_;
  checkpoint::Store store_;
  int64_t keep_last_;
  std::optional<checkpoint::Reader> reader_;
  std::vector<core::Stateful*> components_;
  std::string identity_, configuration_;
  int64_t attempt_ = 0;
};

}  // namespace trireme::trainer
