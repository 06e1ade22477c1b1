#pragma once

#include <trireme/checkpoint/writer.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/error.h>
#include <trireme/telemetry/recorder.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace trireme::checkpoint {

/// Saves in the background. A thread of each rank copies, hashes and writes its part; it never
/// communicates, so the ranks meet on their own threads at moments that they agree on: begin(),
/// advance() and finish() are called by all ranks together. One save is under way at a time; with
/// staging a second one may begin, which uses the host memory of the first.
class Saver {
 public:
  struct Settings {
    /// Tensors that change between two updates too (buffers): begin() copies these itself.
    std::function<bool(const std::string&)> copied_at_once;
    /// A folder on a fast disk that this rank alone uses (see StagingFolder); empty on all ranks:
    /// no staging. The rank's part is written there first, which frees the host memory that it was
    /// copied into, and then copied to the folder of checkpoints and compared.
    std::filesystem::path staging;
    /// Gets the sections `save` and, on rank 0, `commit` of each save's work in the background.
    /// Must outlive the saver; null: none.
    telemetry::Recorder* recorder = nullptr;
  };
  Saver(comm::CommunicatorPtr ranks, Settings settings);
  /// Gives up what is under way, without communicating.
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  /// Another save may begin.
  [[nodiscard]] bool has_room() const;
  /// Begins a save, where there is room; waits until the one before has left the host memory.
  /// Returns when the ranks have agreed who writes what; the tensors must not change before
  /// wait_copied(). `committed` runs on rank 0's thread once the checkpoint is complete on disk,
  /// e.g. to delete old ones; it must not throw. Throws the same Error on all ranks if it cannot
  /// even begin.
  void begin(Collected state, Target target, std::function<void(const Committed&)> committed = {});

  /// Blocks until the tensors may change. Cheap when nothing is under way.
  void wait_copied();

  /// A save was begun and its end has not been told yet.
  [[nodiscard]] bool under_way() const;
  /// This rank's thread is at work on the oldest save: not yet the time for advance().
  [[nodiscard]] bool working() const;

  struct Result {
    int64_t step = 0;
    std::optional<Error> error;  ///< the same on all ranks; else it is saved
    Committed committed;
    double seconds = 0;  ///< from begin() to the end
  };
  /// Lets the ranks meet for the oldest save, once none is working() any more: the parts are handed
  /// to rank 0, and when that has completed the checkpoint, its end is told. Returns the result at
  /// that second meeting.
  [[nodiscard]] std::optional<Result> advance();
  /// Waits for the end of the oldest save, if one is under way.
  [[nodiscard]] std::optional<Result> finish();

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

}  // namespace trireme::checkpoint
