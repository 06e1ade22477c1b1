#include "comm/traced_work.h"

#include <utility>

namespace trireme::comm {

using telemetry::now_ns;

void TracedCall::count_issue() const {
  Account::Sums& sums = account->of(call);
  sums.calls.fetch_add(1, std::memory_order_relaxed);
  sums.bytes.fetch_add(detail.bytes, std::memory_order_relaxed);
}

void TracedCall::leave_span(int64_t start_ns, int64_t end_ns) const {
  if (!recorder->enabled()) return;
  recorder->spans().write(call_names[static_cast<size_t>(call)], telemetry::Category::communication,
                          start_ns, end_ns - start_ns, step, detail);
}

TracedWork::TracedWork(WorkPtr inner, TracedCall call)
    : inner_(std::move(inner)), call_(std::move(call)) {}

TracedWork::~TracedWork() {
  // Of a Work that nobody waited for the end is known at most from the transfer itself.
  tell(now_ns());
  static_cast<void>(busy_ns());
}

void TracedWork::wait() {
  timed(&Work::wait);
}

void TracedWork::wait_on_host() {
  timed(&Work::wait_on_host);
}

void TracedWork::timed(void (Work::*how)()) {
  const int64_t since = now_ns();
  try {
    ((*inner_).*how)();
  } catch (...) {
    waited(since);
    throw;
  }
  waited(since);
}

int64_t TracedWork::busy_ns() const {
  const int64_t ns = inner_->busy_ns();
  count_busy(ns);
  return ns;
}

void TracedWork::waited(int64_t since_ns) {
  const int64_t now = now_ns();
  call_.account->of(call_.call).waited_ns.fetch_add(now - since_ns, std::memory_order_relaxed);
  tell(now);
}

void TracedWork::tell(int64_t end_ns) {
  if (told_.exchange(true, std::memory_order_relaxed)) return;
  const std::optional<Interval> transfer = inner_->interval();
  if (transfer)
    call_.leave_span(transfer->start_ns, transfer->end_ns);
  else
    call_.leave_span(call_.issued_ns, end_ns);
}

void TracedWork::count_busy(int64_t ns) const {
  if (ns <= 0 || busy_counted_.exchange(true, std::memory_order_relaxed)) return;
  Account::Sums& sums = call_.account->of(call_.call);
  sums.busy_ns.fetch_add(ns, std::memory_order_relaxed);
  sums.timed_bytes.fetch_add(call_.detail.bytes, std::memory_order_relaxed);
}

}  // namespace trireme::comm
