#pragma once

#include <trireme/telemetry/operator_tracer.h>

#include "telemetry/operator_names.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/record_function.h>
#include <c10/util/ApproximateClock.h>

namespace trireme::telemetry {

/// How many events may still be recorded, by all threads.
class EventBudget {
 public:
  explicit EventBudget(int64_t events) : left_(events) {}
  /// How many of `wanted` are given.
  int64_t take(int64_t wanted);

 private:
  std::atomic<int64_t> left_;
};

/// What one thread records. Used by that thread alone until the recording has ended; after the
/// first events it allocates once in thousands.
class OperatorLog {
 public:
  struct Entry {
    uint32_t name = 0;
    at::RecordScope scope = at::RecordScope::FUNCTION;
    c10::approx_time_t start = 0;  ///< in ticks, which cost half of what now_ns() does
    c10::approx_time_t end = 0;    ///< 0: still open
    int64_t bytes = 0;
    const int64_t* inputs = nullptr;  ///< InputCode
    const int64_t* stack = nullptr;   ///< a count and as many addresses
  };
  OperatorLog(const OperatorTracer::Settings& settings, EventBudget& budget);

  void open(const at::RecordFunction& function);
  void close(const at::RecordFunction& function);

  [[nodiscard]] int64_t dropped() const { return dropped_; }
  [[nodiscard]] const OperatorNames& names() const { return names_; }
  /// In the order of their starts.
  [[nodiscard]] std::vector<const Entry*> entries() const;

 private:
  struct Open {
    const at::RecordFunction* function;
    Entry* entry;  ///< null: dropped
  };
  static constexpr size_t max_depth = 256;

  Entry* next_entry();
  [[nodiscard]] int64_t* room_for(size_t words);

  const bool inputs_, memory_, stacks_;
  EventBudget& budget_;
  OperatorNames names_;

  struct Chunk {
    std::unique_ptr<Entry[]> entries;
    size_t used = 0;
    size_t size = 0;
  };
  std::vector<Chunk> chunks_;
  std::vector<std::unique_ptr<int64_t[]>> words_;
  size_t words_left_ = 0;
  int64_t* words_at_ = nullptr;

  std::array<Open, max_depth> open_{};
  size_t depth_ = 0;
  int64_t dropped_ = 0;
};

}  // namespace trireme::telemetry
