#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/saver.h>
#include <trireme/checkpoint/staging_folder.h>
#include <trireme/checkpoint/store.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/state.h>

namespace trireme::trainer {

/// Finds, restores and writes the checkpoints of a run. All ranks call together, where it does not say otherwise.
class Checkpoints {
 public:
  /// `all` is for this alone: its deadline is how long ranks wait for storage.
  Checkpoints(const comm::CommunicatorPtr& all, const std::filesystem::path& folder, const checkpoint::Retention& keep, bool read_back,
              const std::optional<std::string>& staging_dir, telemetry::Recorder& recorder);

  /// What to go on from: `resume` is auto (the newest valid checkpoint of the folder, if any), never, or a checkpoint's path.
  /// Rank 0 looks and tells the others.
  void find(const std::string& resume);
  [[nodiscard]] bool resumed() const { return resumed_; }
  /// Whether that checkpoint is one of this run's folder; one from elsewhere leaves the run without a checkpoint of its own.
  [[nodiscard]] bool resumed_from_own() const { return own_; }
  /// Of the checkpoint to go on from, until it is restored.
  [[nodiscard]] const core::StateReader& reader() const { return *reader_; }
  [[nodiscard]] std::string stored_identity() const { return extra("identity"); }
  [[nodiscard]] std::string stored_configuration() const { return extra("configuration"); }
  [[nodiscard]] std::string stored_data() const { return extra("data"); }

  /// Components are saved and restored in the order in which they were added.
  void add(core::Stateful& component) { components_.push_back(&component); }
  /// Closes the checkpoint: open files that a later save deletes would keep their disk space.
  void restore();

  /// What later checkpoints say of the run: identity keys and all keys of its configuration (config::identity_json,
  /// config::full_json), the fingerprint of its training data, and the attempt that writes them.
  void label(std::string identity, std::string configuration, std::string data, int64_t attempt);

  /// Warns if the file system has no room for the checkpoints that will be kept.
  void forecast() const;

  /// Begins to save the state as it is now, in the background, where there is room for it. `scores`: of the evaluations so far, for
  /// the choice of the best. Afterwards see checkpoint::Saver.
  void begin(int64_t step, std::vector<checkpoint::Retention::Score> scores);
  [[nodiscard]] bool has_room() const { return saver_.has_room(); }
  /// Alone: blocks until parameters and optimizer may change.
  void wait_copied() { saver_.wait_copied(); }
  [[nodiscard]] bool under_way() const { return saver_.under_way(); }
  /// Alone: whether this rank is at work on it.
  [[nodiscard]] bool working() const { return saver_.working(); }
  std::optional<checkpoint::Saver::Result> advance() { return saver_.advance(); }
  std::optional<checkpoint::Saver::Result> finish() { return saver_.finish(); }

 private:
  comm::CommunicatorPtr all_;
  checkpoint::Store store_;
  checkpoint::Retention keep_;
  bool read_back_;
  std::optional<checkpoint::StagingFolder> staging_;
  checkpoint::Saver saver_;
  std::optional<checkpoint::Reader> reader_;
  std::vector<core::Stateful*> components_;
  [[nodiscard]] std::string extra(const std::string& name) const;
  /// Rank 0: what an earlier course of the run left after the step that this one starts from is not this one's to delete.
  void set_aside(std::optional<int64_t> later_than);

  bool resumed_ = false;
  bool own_ = false;
  nlohmann::json extras_;  // of the checkpoint to go on from
  std::string identity_, configuration_, data_;
  int64_t attempt_ = 0;
};

}  // namespace trireme::trainer
