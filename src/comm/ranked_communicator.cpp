#include "comm/ranked_communicator.h"

#include "comm/collectives.h"
#include "comm/peers.h"
#include "comm/reduction.h"
#include "comm/split.h"
#include "comm/string_exchange.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>

namespace trireme::comm {
namespace {

std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

void check_tensor(const at::Tensor& tensor, const char* what) {
  check(tensor.defined() && tensor.is_cpu() && tensor.is_contiguous(), what);
}

class RankedCommunicator final : public Communicator {
 public:
  RankedCommunicator(std::shared_ptr<Engine> engine, Group group,
                     const std::shared_ptr<Health>& parent)
      : engine_(std::move(engine)),
        group_(std::make_shared<const Group>(std::move(group))),
        health_(Health::make(parent, engine_->waker(), engine_->heartbeat())) {}

  int rank() const override { return group_->rank; }
  int size() const override { return static_cast<int>(group_->ranks.size()); }
  const std::string& name() const override { return group_->name; }

  WorkPtr all_reduce(const at::Tensor& values, ReduceOp op) override {
    check_tensor(values, "all_reduce wants a contiguous tensor on the CPU");
    const Reduction reduction(values.scalar_type(), op);
    return issue("all_reduce", values.nbytes(), [values, reduction](Peers& peers) {
      comm::all_reduce(peers, bytes_of(values), static_cast<std::size_t>(values.numel()),
                       reduction);
    });
  }

  WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in, ReduceOp op) override {
    check_tensor(out, "reduce_scatter wants a contiguous output on the CPU");
    check_tensor(in, "reduce_scatter wants a contiguous input on the CPU");
    check(in.numel() == size() * out.numel() && in.scalar_type() == out.scalar_type(),
          "reduce_scatter wants an input of one part a rank, each as large as the output");
    const Reduction reduction(in.scalar_type(), op);
    return issue("reduce_scatter", in.nbytes(), [out, in, reduction](Peers& peers) {
      comm::reduce_scatter(peers, bytes_of(out), bytes_of(in),
                           static_cast<std::size_t>(out.numel()), reduction);
    });
  }

  WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    check_tensor(out, "all_gather wants a contiguous output on the CPU");
    check_tensor(in, "all_gather wants a contiguous input on the CPU");
    check(out.numel() == size() * in.numel() && in.scalar_type() == out.scalar_type(),
          "all_gather wants an output of one part a rank, each as large as the input");
    return issue("all_gather", out.nbytes(), [out, in](Peers& peers) {
      comm::all_gather(peers, bytes_of(out), bytes_of(in), in.nbytes());
    });
  }

  WorkPtr broadcast(const at::Tensor& values, int root) override {
    check_tensor(values, "broadcast wants a contiguous tensor on the CPU");
    check_member(root);
    return issue("broadcast", values.nbytes(), [values, root](Peers& peers) {
      comm::broadcast(peers, bytes_of(values), values.nbytes(), root);
    });
  }

  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in) override {
    check_tensor(out, "all_to_all wants a contiguous output on the CPU");
    check_tensor(in, "all_to_all wants a contiguous input on the CPU");
    check(in.numel() == out.numel() && in.numel() % size() == 0 &&
              in.scalar_type() == out.scalar_type(),
          "all_to_all wants an input and an output of the same size, a multiple of the ranks");
    return issue("all_to_all", in.nbytes(), [out, in](Peers& peers) {
      comm::all_to_all(peers, bytes_of(out), bytes_of(in),
                       in.nbytes() / static_cast<std::size_t>(peers.size()));
    });
  }

  WorkPtr send(const at::Tensor& values, int to) override {
    check_tensor(values, "send wants a contiguous tensor on the CPU");
    check_member(to);
    return issue_message("send", values.nbytes(), [values, to](Peers& peers) {
      peers.post({sending(to, values.data_ptr(), values.nbytes())});
    });
  }

  WorkPtr recv(const at::Tensor& values, int from) override {
    check_tensor(values, "recv wants a contiguous tensor on the CPU");
    check_member(from);
    return issue_message("recv", values.nbytes(), [values, from](Peers& peers) {
      peers.post({receiving(from, values.data_ptr(), values.nbytes())});
    });
  }

  WorkPtr barrier() override {
    return issue("barrier", 0, [](Peers& peers) { comm::barrier(peers); });
  }

  std::vector<std::string> gather_bytes(std::string_view mine, int root) override {
    check_member(root);
    return exchange_strings("gather_bytes", mine,
                            [root](Peers& peers, StringExchange& strings) {
                              gather_strings(peers, strings, root);
                            })
        ->all;
  }

  std::vector<std::string> all_gather_bytes(std::string_view mine) override {
    return exchange_strings("all_gather_bytes", mine, all_gather_strings)->all;
  }

  std::string broadcast_bytes(std::string_view mine, int root) override {
    check_member(root);
    return exchange_strings("broadcast_bytes", mine,
                            [root](Peers& peers, StringExchange& strings) {
                              broadcast_string(peers, strings, root);
                            })
        ->mine;
  }

  CommunicatorPtr split(int color, int key, const std::string& name) override {
    const Ballot mine{color, key, engine_->next_context()};
    const auto strings = exchange_strings(
        "split", std::string_view(reinterpret_cast<const char*>(&mine), sizeof mine),
        all_gather_strings);
    std::vector<Ballot> ballots(strings->all.size());
    for (std::size_t r = 0; r < ballots.size(); ++r)
      std::memcpy(&ballots[r], strings->all[r].data(), sizeof(Ballot));
    Division division = divide(*group_, ballots, name);
    engine_->use_context(division.context);
    if (!division.group) return nullptr;
    return make_communicator(engine_, *std::move(division.group), health_);
  }

  void poison(const Error& reason) override { health_->poison(reason); }
  std::shared_ptr<const Error> poisoned() const override { return health_->reason(); }
  void set_deadline(std::chrono::milliseconds deadline) override {
    health_->set_deadline(deadline);
  }
  std::chrono::milliseconds deadline() const override { return health_->deadline(); }

 private:
  void check_member(int member) const {
    check(member >= 0 && member < size(), "a rank outside the communicator");
  }

  OperationPtr make(std::string_view what, std::size_t bytes, Operation::Body body) {
    health_->throw_if_poisoned();
    return std::make_shared<Operation>(group_, health_, what, static_cast<int64_t>(bytes),
                                       sequence_.fetch_add(1) + 1, std::move(body));
  }

  WorkPtr issue(std::string_view what, std::size_t bytes, Operation::Body body) {
    auto operation = make(what, bytes, std::move(body));
    if (engine_->alone())
      engine_->run_here(operation);
    else
      engine_->submit(operation);
    return operation;
  }

  WorkPtr issue_message(std::string_view what, std::size_t bytes, Operation::Body body) {
    auto operation = make(what, bytes, std::move(body));
    engine_->submit(operation);
    return operation;
  }

  template <class Exchange>
  std::shared_ptr<StringExchange> exchange_strings(std::string_view what, std::string_view mine,
                                                   Exchange exchange) {
    auto strings = std::make_shared<StringExchange>();
    strings->mine = mine;
    issue(what, mine.size(), [strings, exchange](Peers& peers) {
      exchange(peers, *strings);
    })->wait();
    return strings;
  }

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<const Group> group_;
  std::shared_ptr<Health> health_;
  std::atomic<uint64_t> sequence_{0};
};

}  // namespace

CommunicatorPtr make_communicator(std::shared_ptr<Engine> engine, Group group,
                                  const std::shared_ptr<Health>& parent) {
  return std::make_shared<RankedCommunicator>(std::move(engine), std::move(group), parent);
}

Group world_group(int rank, int size) {
  Group world{"world", rank, std::vector<int>(static_cast<std::size_t>(size)), 0};
  std::iota(world.ranks.begin(), world.ranks.end(), 0);
  return world;
}

}  // namespace trireme::comm
