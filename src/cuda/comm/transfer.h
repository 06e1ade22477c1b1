#pragma once

#include "cuda/comm/event.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::cuda {

/// One operation on the communication stream, as its caller and the watch see it.
class Transfer {
 public:
  /// `what`: a literal. `recorded`: it becomes part of a graph; its events are never asked then.
  Transfer(std::string_view what, int64_t bytes, uint64_t sequence, bool recorded,
           std::vector<at::Tensor> tensors);

  void begin(cudaStream_t stream);
  void end(cudaStream_t stream);
  [[nodiscard]] const Event& ended() const { return end_; }
  [[nodiscard]] bool recorded() const { return recorded_; }

  /// Asks the device; `failed` receives what has gone wrong there.
  [[nodiscard]] bool complete(cudaError_t* failed = nullptr) const;
  /// After it is known to be complete.
  [[nodiscard]] int64_t nanoseconds() const;
  /// Lets its tensors go: from now on the caller's stream keeps the order.
  void release();

  [[nodiscard]] bool overdue(std::chrono::steady_clock::time_point now,
                             std::chrono::milliseconds deadline) const {
    return now - issued_ > deadline;
  }
  /// "all_reduce of 4096 bytes, operation 17"
  [[nodiscard]] std::string describe() const;

 private:
  std::string_view what_;
  int64_t bytes_;
  uint64_t sequence_;
  bool recorded_;
  std::chrono::steady_clock::time_point issued_ = std::chrono::steady_clock::now();
  std::optional<Event> start_;
  Event end_;
  mutable std::atomic<bool> complete_{false};
  std::mutex mutex_;
  std::vector<at::Tensor> tensors_;
};

}  // namespace trireme::cuda
