#include "parallel/traffic.h"

#include <chrono>
#include <optional>
#include <utility>

namespace trireme::parallel {

void Traffic::wait(const comm::WorkPtr& work, const at::Tensor& payload) {
  counted_.bytes += payload.numel() * static_cast<int64_t>(payload.element_size());
  ++counted_.calls;
  if (!payload.is_cpu()) {
    work->wait();
    on_device_.push_back(work);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  {
    std::optional<telemetry::PhaseScope> phase;
    if (recorder_ != nullptr) phase.emplace(*recorder_, telemetry::Phase::comm_exposed);
    work->wait();
  }
  const auto waited = std::chrono::steady_clock::now() - start;
  counted_.exposed_ns += std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count();
  counted_.busy_ns += work->busy_ns();
}

void Traffic::tell(ReduceReport& report) {
  for (const comm::WorkPtr& work : on_device_before_) counted_.busy_ns += work->busy_ns();
  on_device_before_ = std::exchange(on_device_, {});
  const ReduceReport counted = std::exchange(counted_, {});
  report.exposed_ns += counted.exposed_ns;
  report.busy_ns += counted.busy_ns;
  report.bytes += counted.bytes;
  report.calls += counted.calls;
}

}  // namespace trireme::parallel
