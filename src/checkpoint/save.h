#pragma once

#include <trireme/checkpoint/writer.h>
#include <trireme/comm/communicator.h>

#include "checkpoint/host_buffer.h"
#include "checkpoint/shard_writer.h"
#include "checkpoint/verdict.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::checkpoint {

/// One checkpoint on its way to the disk, seen from one rank. Steps that communicate, where all
/// ranks meet, alternate with steps that only work, on any thread:
///   Save (meet: who writes what; rank 0 makes the folder), copy, stage, write, hand_over (meet:
///   rank 0 learns what was written), complete (rank 0 alone: manifest, sync, name), conclude
///   (meet: the verdict).
/// Between these no rank leaves: a failure is carried to the next meeting, where all learn of it.
class Save {
 public:
  /// Throws the same Error on all ranks. `state` is referred to until it was copied. `staging`: a
  /// folder of this rank alone, see stage(); empty: none.
  Save(Collected state, comm::Communicator& ranks, Target target,
       std::filesystem::path staging = {});
  ~Save();
  Save(const Save&) = delete;
  Save& operator=(const Save&) = delete;

  using Names = std::function<bool(const std::string&)>;
  /// Takes what this rank is going to write of the tensors that `which` names into `buffer`: they
  /// may change afterwards. `buffer` belongs to this save until it was staged or written.
  void copy(HostBuffer& buffer, const Names& which);
  /// Writes this rank's file into the staging folder, if there is one. Stops early, as a failure,
  /// once `cancelled`.
  void stage(const std::atomic<bool>& cancelled);
  /// Writes this rank's file in its place, copied or not, or copies the staged one, which is gone
  /// then. Stops early, as a failure, once `cancelled`.
  void write(const std::atomic<bool>& cancelled);
  void hand_over();
  /// What is saved now, on rank 0; nothing if it failed.
  std::optional<Committed> complete();
  /// Throws the same Error on all ranks if the save failed on any; then nothing is left of it.
  [[nodiscard]] Committed conclude();

 private:
  [[nodiscard]] bool root() const { return ranks_.rank() == 0; }
  std::vector<int64_t> agree_on_parts();
  [[nodiscard]] ShardWriter::Written write_shard(const std::filesystem::path& path,
                                                 const std::atomic<bool>& cancelled) const;
  void copy_staged(const std::atomic<bool>& cancelled) const;
  void add_empty_tensors(Manifest& manifest) const;
  [[nodiscard]] int64_t write_manifest(const Manifest& manifest) const;
  [[nodiscard]] std::string commit_on_root();
  std::string judged(const std::function<std::string()>& work);
  [[nodiscard]] Committed committed_from(const std::string& text) const;
  std::string announce(const Outcome& verdict);

  class UnfinishedFolder;
  class StagedFile;
  Collected state_;
  comm::Communicator& ranks_;
  const Target target_;
  const std::filesystem::path unfinished_;
  const std::filesystem::path staging_;
  std::unique_ptr<UnfinishedFolder> folder_;  // of rank 0
  nlohmann::json common_of_root_;
  std::optional<ShardWriter> shard_;
  std::unique_ptr<StagedFile> staged_;
  ShardWriter::Written written_;
  Outcome mine_;                       // of this rank's part
  std::vector<std::string> outcomes_;  // on rank 0: of all parts
  Outcome verdict_;                    // on rank 0
};

}  // namespace trireme::checkpoint
