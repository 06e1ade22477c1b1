#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/telemetry/recorder.h>

#include "comm/traffic_ledger.h"

#include <atomic>
#include <cstdint>
#include <memory>

namespace trireme::comm {

/// One call as the ledger and the recorder want it.
struct TracedCall {
  Call call{};
  int64_t issued_ns = 0;
  int64_t step = -1;
  telemetry::SpanDetail detail;
  std::shared_ptr<TrafficLedger> ledger;  // keeps the account
  Account* account = nullptr;
  telemetry::Recorder* recorder = nullptr;

  void count_issue() const;
  /// The span, if spans are recorded.
  void leave_span(int64_t start_ns, int64_t end_ns) const;
};

/// A Work that says where its time went, once. It holds nothing but the inner Work.
class TracedWork final : public Work {
 public:
  TracedWork(WorkPtr inner, TracedCall call);
  ~TracedWork() override;

  [[nodiscard]] bool done() const override { return inner_->done(); }
  void wait() override;
  void wait_on_host() override;
  [[nodiscard]] int64_t busy_ns() const override;
  [[nodiscard]] std::optional<Interval> interval() const override { return inner_->interval(); }

 private:
  void timed(void (Work::*wait)());
  void waited(int64_t since_ns);
  /// The first call leaves the span.
  void tell(int64_t end_ns);
  /// Counts the transfer's time when it is first known.
  void count_busy(int64_t ns) const;

  const WorkPtr inner_;
  const TracedCall call_;
  std::atomic<bool> told_{false};
  mutable std::atomic<bool> busy_counted_{false};
};

}  // namespace trireme::comm
