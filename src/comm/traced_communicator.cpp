#include <trireme/comm/traced.h>

#include "comm/traced_work.h"
#include "comm/traffic_ledger.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <type_traits>
#include <utility>

#include <ATen/core/Tensor.h>

namespace trireme::comm {
namespace {

using telemetry::now_ns;

int64_t bytes_of(const at::Tensor& tensor) {
  return static_cast<int64_t>(tensor.nbytes());
}

class TracedCommunicator final : public Communicator {
 public:
  TracedCommunicator(CommunicatorPtr inner, telemetry::Recorder& recorder, std::string label,
                     std::shared_ptr<TrafficLedger> ledger)
      : inner_(std::move(inner)),
        recorder_(recorder),
        label_(recorder.spans().keep(label)),
        ledger_(std::move(ledger)),
        account_(ledger_->open(std::move(label))) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  const std::string& name() const override { return inner_->name(); }

  WorkPtr all_reduce(const at::Tensor& values, ReduceOp op) override {
    return issue(Call::all_reduce, bytes_of(values),
                 [&] { return inner_->all_reduce(values, op); });
  }
  WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in, ReduceOp op) override {
    return issue(Call::reduce_scatter, bytes_of(in),
                 [&] { return inner_->reduce_scatter(out, in, op); });
  }
  WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    return issue(Call::all_gather, bytes_of(out), [&] { return inner_->all_gather(out, in); });
  }
  WorkPtr broadcast(const at::Tensor& values, int root) override {
    return issue(Call::broadcast, bytes_of(values),
                 [&] { return inner_->broadcast(values, root); });
  }
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in) override {
    return issue(Call::all_to_all, bytes_of(in), [&] { return inner_->all_to_all(out, in); });
  }
  WorkPtr send(const at::Tensor& values, int to) override {
    return issue(Call::send, bytes_of(values), [&] { return inner_->send(values, to); });
  }
  WorkPtr recv(const at::Tensor& values, int from) override {
    return issue(Call::recv, bytes_of(values), [&] { return inner_->recv(values, from); });
  }
  WorkPtr barrier() override {
    return issue(Call::barrier, 0, [&] { return inner_->barrier(); });
  }

  std::vector<std::string> gather_bytes(std::string_view mine, int root) override {
    return exchange(Call::gather_bytes, mine.size(),
                    [&] { return inner_->gather_bytes(mine, root); });
  }
  std::vector<std::string> all_gather_bytes(std::string_view mine) override {
    return exchange(Call::all_gather_bytes, mine.size(),
                    [&] { return inner_->all_gather_bytes(mine); });
  }
  std::string broadcast_bytes(std::string_view mine, int root) override {
    return exchange(Call::broadcast_bytes, rank() == root ? mine.size() : 0,
                    [&] { return inner_->broadcast_bytes(mine, root); });
  }

  CommunicatorPtr split(int color, int key, const std::string& part) override {
    CommunicatorPtr made =
        exchange(Call::split, 0, [&] { return inner_->split(color, key, part); });
    // All ranks split alike, so the count is the same on all, also where this one takes no part.
    const int count = ++splits_[part];
    if (made == nullptr) return nullptr;
    std::string label = std::string(label_) + "/" + part;
    if (color != 0) label += ":" + std::to_string(color);
    if (count > 1) label += " (" + std::to_string(count) + ")";
    return std::make_shared<TracedCommunicator>(std::move(made), recorder_, std::move(label),
                                                ledger_);
  }

  void poison(const Error& reason) override { inner_->poison(reason); }
  std::shared_ptr<const Error> poisoned() const override { return inner_->poisoned(); }
  void set_deadline(std::chrono::milliseconds deadline) override { inner_->set_deadline(deadline); }
  std::chrono::milliseconds deadline() const override { return inner_->deadline(); }

  [[nodiscard]] TrafficLedger& ledger() const { return *ledger_; }

 private:
  /// After the call was accepted: what is refused gets no number, here and on all ranks.
  TracedCall accepted(Call call, int64_t issued_ns, int64_t bytes) {
    const int64_t sequence =
        is_collective(call) ? sequence_.fetch_add(1, std::memory_order_relaxed) : -1;
    TracedCall made{.call = call,
                    .issued_ns = issued_ns,
                    .step = recorder_.step(),
                    .detail = {.bytes = bytes,
                               .sequence = sequence,
                               .group = label_,
                               .group_rank = inner_->rank(),
                               .group_size = inner_->size()},
                    .ledger = ledger_,
                    .account = account_,
                    .recorder = &recorder_};
    made.count_issue();
    return made;
  }

  template <class Do>
  WorkPtr issue(Call call, int64_t bytes, const Do& run) {
    const int64_t issued_ns = now_ns();
    WorkPtr work = run();
    return std::make_shared<TracedWork>(std::move(work), accepted(call, issued_ns, bytes));
  }

  /// What blocks until it is done: the time of the transfer is not known apart from the wait.
  template <class Do>
  std::invoke_result_t<const Do&> exchange(Call call, size_t bytes, const Do& run) {
    const int64_t start = now_ns();
    auto result = run();
    const int64_t end = now_ns();
    const TracedCall done = accepted(call, start, static_cast<int64_t>(bytes));
    done.account->of(call).waited_ns.fetch_add(end - start, std::memory_order_relaxed);
    done.leave_span(start, end);
    return result;
  }

  const CommunicatorPtr inner_;
  telemetry::Recorder& recorder_;
  const char* const label_;
  const std::shared_ptr<TrafficLedger> ledger_;
  Account* const account_;
  std::atomic<int64_t> sequence_{0};
  std::map<std::string, int> splits_;  // all ranks split together, so one thread at a time
};

}  // namespace

CommunicatorPtr traced(CommunicatorPtr inner, telemetry::Recorder& recorder,
                       std::string_view label) {
  std::string name(label.empty() ? std::string_view(inner->name()) : label);
  return std::make_shared<TracedCommunicator>(std::move(inner), recorder, std::move(name),
                                              std::make_shared<TrafficLedger>());
}

std::vector<TrafficRow> traffic_of(const Communicator& communicator) {
  const auto* traced = dynamic_cast<const TracedCommunicator*>(&communicator);
  return traced == nullptr ? std::vector<TrafficRow>{} : traced->ledger().rows();
}

std::vector<TrafficRow> traffic_since(const std::vector<TrafficRow>& before,
                                      std::vector<TrafficRow> now) {
  for (TrafficRow& row : now) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const TrafficRow& one) {
      return one.group == row.group && one.operation == row.operation;
    });
    if (same == before.end()) continue;
    row.calls -= same->calls;
    row.bytes -= same->bytes;
    row.busy_seconds -= same->busy_seconds;
    row.waited_seconds -= same->waited_seconds;
    row.timed_bytes -= same->timed_bytes;
  }
  std::erase_if(now, [](const TrafficRow& row) { return row.calls == 0; });
  return now;
}

void count_again(const Communicator& communicator, const std::vector<TrafficRow>& rows) {
  const auto* traced = dynamic_cast<const TracedCommunicator*>(&communicator);
  if (traced == nullptr) return;
  for (const TrafficRow& row : rows) traced->ledger().count_again(row);
}

}  // namespace trireme::comm
