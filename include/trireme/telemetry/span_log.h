#pragma once

#include <trireme/telemetry/phase.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::telemetry {

/// Nanoseconds of the monotonic clock: the time base of all records of this process.
[[nodiscard]] int64_t now_ns();

/// The line of a trace that shows a span: that of its thread, or one that it shares with its like.
/// A unit's backward begins and ends inside of autograd's operators, so that units have a line of
/// their own.
enum class Track : uint8_t { thread, units };

struct SpanRecord {
  const char* name = nullptr;
  int64_t start_ns = 0;
  int64_t duration_ns = 0;
  int64_t step = 0;
  int thread = 0;  ///< number of the thread in the order of their first spans
  Category category = Category::user;
  Track track = Track::thread;

  // Of a call of a communicator; of other spans as here. Of one that tracks memory `bytes` is what
  // was allocated at its end and not at its beginning, `peak` the most above its beginning, where
  // known.
  int64_t bytes = 0;
  int64_t peak = -1;
  int64_t sequence = -1;        ///< of a collective: (group, sequence) is the same on all its ranks
  const char* group = nullptr;  ///< outlives the log
  int32_t group_rank = -1;
  int32_t group_size = 0;
};

/// What some spans have beside their times; see SpanRecord.
struct SpanDetail {
  int64_t bytes = 0;
  int64_t peak = -1;
  int64_t sequence = -1;
  const char* group = nullptr;
  int32_t group_rank = -1;
  int32_t group_size = 0;
};

/// The most recent spans of every thread, in one ring a thread that is allocated at the thread's
/// first span (and a second for details at its first span that has any). Writing takes no lock and
/// allocates nothing else; a full ring overwrites its oldest records.
class SpanLog {
 public:
  explicit SpanLog(size_t spans_per_thread);
  ~SpanLog();
  SpanLog(const SpanLog&) = delete;
  SpanLog& operator=(const SpanLog&) = delete;

  /// Any thread. `name` is kept as a pointer: a string literal, or one that outlives the log.
  void write(const char* name, Category category, int64_t start_ns, int64_t duration_ns,
             int64_t step, Track track = Track::thread);
  void write(const char* name, Category category, int64_t start_ns, int64_t duration_ns,
             int64_t step, const SpanDetail& detail);

  /// A copy of `name` that lives as long as the log, the same pointer for the same name. Any
  /// thread; takes a lock: at set-up, not for every span.
  [[nodiscard]] const char* keep(std::string_view name);

  /// What the calling thread is called in traces. Takes a lock.
  void name_this_thread(std::string name);
  /// By SpanRecord::thread; "thread N" where none was given.
  [[nodiscard]] std::vector<std::string> thread_names() const;
  /// SpanRecord::thread of what the calling thread writes; -1 beyond the first 256 threads.
  [[nodiscard]] int this_thread();

  /// The records since the last call, ordered by start. Any thread, while others write.
  [[nodiscard]] std::vector<SpanRecord> drain();
  /// Records lost so far: overwritten before they were drained, or of a thread beyond the first
  /// 256.
  [[nodiscard]] int64_t dropped() const;

 private:
  class Ring;
  static constexpr size_t max_threads = 256;
  Ring* ring_of_this_thread();
  void write(const char* name, Category category, int64_t start_ns, int64_t duration_ns,
             int64_t step, Track track, const SpanDetail* detail);

  const uint64_t id_;
  const size_t capacity_;
  mutable std::mutex guard_;  // of registration and draining
  std::array<std::unique_ptr<Ring>, max_threads> rings_;
  size_t threads_ = 0;
  std::set<std::string, std::less<>> kept_;
  std::atomic<int64_t> dropped_{0};
};

}  // namespace trireme::telemetry
