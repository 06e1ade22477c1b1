#include "parallel/traffic.h"

#include <chrono>
#include <utility>

namespace trireme::parallel {

void Traffic::wait(comm::Work& work, const at::Tensor& payload) {
  const auto start = std::chrono::steady_clock::now();
  {
    const telemetry::PhaseScope phase(recorder_, telemetry::Phase::comm_exposed);
    work.wait();
  }
  const auto waited = std::chrono::steady_clock::now() - start;
  totals_.exposed_ns += std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count();
  totals_.busy_ns += work.busy_ns();
  totals_.bytes += payload.numel() * static_cast<int64_t>(payload.element_size());
  ++totals_.calls;
}

Traffic::Totals Traffic::take() {
  return std::exchange(totals_, {});
}

}  // namespace trireme::parallel
