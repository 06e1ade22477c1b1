#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

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
  [[nodiscard]] bool resumed() const { return resumed_; }
  /// Of the checkpoint to go on from, until it is restored.
  [[nodiscard]] const core::StateReader& reader() const { return *reader_; }
  [[nodiscard]] std::string stored_identity() const { return extra("identity"); }
  [[nodiscard]] std::string stored_configuration() const { return extra("configuration"); }
  [[nodiscard]] std::string stored_data() const { return extra("data"); }

  /// Components are saved and restored in the order in which they were added.
  void add(core::Stateful& component) { components_.push_back(&component); }
  /// Closes the checkpoint: mapped files that a later save deletes would keep their disk space.
  void restore();

  /// What later checkpoints say of the run: identity keys and all keys of its configuration (config::identity_json,
  /// config::full_json), the fingerprint of its training data, and the attempt that writes them.
  void label(std::string identity, std::string configuration, std::string data, int64_t attempt);
  /// On return the checkpoint is complete on disk and older ones beyond keep_last are gone.
  void save(int64_t step);

 private:
  comm::CommunicatorPtr all_;
  checkpoint::Store store_;
  int64_t keep_last_;
  std::optional<checkpoint::Reader> reader_;
  std::vector<core::Stateful*> components_;
  [[nodiscard]] std::string extra(const std::string& name) const;
  /// Rank 0: what an earlier course of the run left after the step that this one starts from is not this one's to delete.
  void set_aside(std::optional<int64_t> later_than);

  bool resumed_ = false;
  nlohmann::json extras_;  // of the checkpoint to go on from
  std::string identity_, configuration_, data_;
  int64_t attempt_ = 0;
};

}  // namespace trireme::trainer
