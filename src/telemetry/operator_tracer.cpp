#include <trireme/core/error.h>
#include <trireme/telemetry/operator_tracer.h>
#include <trireme/telemetry/span_log.h>

#include "telemetry/operator_claim.h"

#include <algorithm>
#include <atomic>

namespace trireme::telemetry {
namespace {

std::atomic<bool> claimed{false};

/// Takes its operations from whatever has one inside that has some.
void keep_innermost_flops(OperatorTrace& trace) {
  const std::vector<int64_t> parents = parents_of(trace.events);
  std::vector<bool> counted(trace.events.size(), false);  // something inside has some
  for (size_t i = trace.events.size(); i-- > 0;) {        // children come after their parents
    OperatorEvent& event = trace.events[i];
    if (counted[i]) event.flops = 0;
    if (parents[i] >= 0 && (counted[i] || event.flops > 0))
      counted[static_cast<size_t>(parents[i])] = true;
  }
}

}  // namespace

OperatorClaim::OperatorClaim() {
  if (claimed.exchange(true))
    throw Error(
        ErrorKind::environment,
        "operations of this process are being recorded already, and only one recorder can run",
        "stop the recording that runs (`trireme debug RUN status` lists switches), then start the "
        "next");
}
OperatorClaim::~OperatorClaim() {
  claimed.store(false);
}

OperatorTracer::~OperatorTracer() = default;

void OperatorTracer::begin_step(int64_t step) {
  steps_.push_back({step, now_ns()});
}

void OperatorTracer::finish(OperatorTrace& trace) const {
  order(trace.events);
  size_t next = 0;
  for (OperatorEvent& event : trace.events) {
    while (next < steps_.size() && steps_[next].start_ns <= event.start_ns) ++next;
    event.step = next == 0 ? -1 : steps_[next - 1].step;
  }
  keep_innermost_flops(trace);
}

}  // namespace trireme::telemetry
