#include <trireme/comm/traced.h>

#include "comm/traced_work.h"
#include "comm/traffic_ledger.h"

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
    const int64_t now = now_ns();
    return issued(Call::all_reduce, now, inner_->all_reduce(values, op), values);
  }
  WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in, ReduceOp op) override {
    const int64_t now = now_ns();
    return issued(Call::reduce_scatter, now, inner_->reduce_scatter(out, in, op), in);
  }
  WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    const int64_t now = now_ns();
    return issued(Call::all_gather, now, inner_->all_gather(out, in), out);
  }
  WorkPtr broadcast(const at::Tensor& values, int root) override {
    const int64_t now = now_ns();
    return issued(Call::broadcast, now, inner_->broadcast(values, root), values);
  }
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in) override {
    const int64_t now = now_ns();
    return issued(Call::all_to_all, now, inner_->all_to_all(out, in), in);
  }
  WorkPtr send(const at::Tensor& values, int to) override {
    const int64_t now = now_ns();
    return issued(Call::send, now, inner_->send(values, to), values);
  }
  WorkPtr recv(const at::Tensor& values, int from) override {
    const int64_t now = now_ns();
    return issued(Call::recv, now, inner_->recv(values, from), values);
  }
  WorkPtr barrier() override {
    const int64_t now = now_ns();
    return trace(Call::barrier, now, inner_->barrier(), 0);
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

  [[nodiscard]] const TrafficLedger& ledger() const { return *ledger_; }

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

  WorkPtr trace(Call call, int64_t issued_ns, WorkPtr work, int64_t bytes) {
    return std::make_shared<TracedWork>(std::move(work), accepted(call, issued_ns, bytes));
  }
  WorkPtr issued(Call call, int64_t issued_ns, WorkPtr work, const at::Tensor& payload) {
    return trace(call, issued_ns, std::move(work), bytes_of(payload));
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

}  // namespace trireme::comm
