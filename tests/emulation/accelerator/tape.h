#pragma once

#include "heap.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <c10/core/Stream.h>

namespace trireme::emulated {

/// Per stream of a recording, how many of its operations precede.
using Clock = std::map<c10::StreamId, int64_t>;

/// A moment of a recording: what an event holds.
struct Moment {
  uint64_t tape = 0;
  Clock clock;
};

/// The operations of a graph. One tape records at a time in a process: what any thread issues on
/// the recorded stream, or on streams that wait for events of it. Recording executes operations to
/// learn their results' shapes; what they changed is put back at the end, as a device that records
/// does not execute.
class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Records what `body` issues on the calling thread's current stream.
  void record(const std::function<void()>& body);
  void replay() const;

  /// The tape that takes what the calling thread issues; null while it does not record, or under
  /// Pause.
  static Tape* here();
  /// Whether the calling thread's current stream is recorded.
  static bool records_here();
  static bool records(const c10::Stream& stream);
  /// For new memory; 0: none.
  static uint64_t pool_here();

  /// An operation is about to change memory at `address`.
  void will_write(const void* address);
  /// An operation works with memory at `address`: it has to be there at replays.
  void uses(const void* address);
  void append(std::string name, std::function<void()> operation);

  static std::optional<Moment> moment_of(const c10::Stream& stream);
  static void wait(const c10::Stream& stream, const std::optional<Moment>& moment);

  /// What the calling thread issues is part of an operation that is appended as a whole.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
  };

 private:
  struct Operation {
    std::string name;
    std::function<void()> run;
  };
  struct Saved {
    Heap* heap = nullptr;
    Heap::Block block;
    std::vector<std::byte> bytes;
  };
  static std::optional<std::pair<Heap*, Heap::Block>> block_at(const void* address);
  void check_joined() const;
  void restore();

  const uint64_t id_;  // also of its pool
  c10::DeviceIndex device_ = 0;
  c10::StreamId origin_ = 0;
  mutable std::mutex mutex_;
  std::map<c10::StreamId, Clock> clocks_;  // of the streams that are recorded
  std::vector<Operation> operations_;
  std::map<uint64_t, Saved> saved_;                              // by block
  std::map<const std::byte*, std::pair<Heap*, uint64_t>> used_;  // blocks that are not its own
};

}  // namespace trireme::emulated
