#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/error.h>

#include "support/forwarding_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::bench {

/// How fast a network is.
struct FabricSpeed {
  double latency = 0;           ///< seconds of a collective, however small
  double bytes_per_second = 0;  ///< that a rank sends, and receives at the same time

  /// Seconds of a collective in which a rank sends `bytes`.
  [[nodiscard]] double seconds(double bytes) const { return latency + bytes / bytes_per_second; }
};

/// What a rank sends in a ring of `ranks` that gathers `bytes`, or reduces and scatters them.
inline double ring_bytes(double bytes, int ranks) {
  return bytes * (ranks - 1) / ranks;
}

/// The network of threads that play ranks: it says when a collective would be over. Each rank has
/// one queue, so collectives follow one another in the order in which they were issued. All ranks
/// take part in each, so that it begins when the last rank has issued it and the one before is
/// over.
class EmulatedFabric {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Transfer {
    int issued = 0;  // by so many ranks
    Time end{};      // known when all have issued it
  };

  EmulatedFabric(int ranks, FabricSpeed speed)
      : speed_(speed), next_(static_cast<size_t>(ranks), 0) {}

  /// The rank's next collective.
  std::shared_ptr<Transfer> issue(int rank, double bytes) {
    const std::lock_guard lock(mutex_);
    const int64_t number = next_[static_cast<size_t>(rank)]++;
    std::shared_ptr<Transfer>& place = open_[number];
    if (!place) place = std::make_shared<Transfer>();
    const std::shared_ptr<Transfer> transfer = place;
    if (++transfer->issued == static_cast<int>(next_.size())) {
      const std::chrono::duration<double> taken(speed_.seconds(bytes));
      end_ = std::max(end_, std::chrono::steady_clock::now()) +
             std::chrono::duration_cast<Time::duration>(taken);
      transfer->end = end_;
      open_.erase(number);
    }
    return transfer;
  }

  [[nodiscard]] Time end_of(const Transfer& transfer) {
    const std::lock_guard lock(mutex_);
    check(transfer.issued == static_cast<int>(next_.size()), "a collective ended before all began");
    return transfer.end;
  }

 private:
  FabricSpeed speed_;
  std::mutex mutex_;
  std::vector<int64_t> next_;                          // by rank: the number of its next collective
  std::map<int64_t, std::shared_ptr<Transfer>> open_;  // what not all ranks have issued
  Time end_{};
};

/// A thread rank's communicator, whose collectives take the time of the fabric. Messages and byte
/// strings pass at once. What is split from it is all ranks or one.
class FabricCommunicator final : public test::ForwardingCommunicator {
 public:
  FabricCommunicator(comm::CommunicatorPtr inner, std::shared_ptr<EmulatedFabric> fabric)
      : ForwardingCommunicator(std::move(inner)), fabric_(std::move(fabric)) {}

  comm::WorkPtr all_reduce(const at::Tensor& values, comm::ReduceOp op) override {
    const auto transfer = issue(values, 2);
    return late(inner().all_reduce(values, op), transfer);
  }
  comm::WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in,
                               comm::ReduceOp op) override {
    const auto transfer = issue(in, 1);
    return late(inner().reduce_scatter(out, in, op), transfer);
  }
  comm::WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    const auto transfer = issue(out, 1);
    return late(inner().all_gather(out, in), transfer);
  }
  comm::CommunicatorPtr split(int color, int key, const std::string& name) override {
    comm::CommunicatorPtr part = inner().split(color, key, name);
    if (part->size() == 1) return part;
    check(part->size() == size(), "an emulated fabric has groups of all ranks or of one");
    return std::make_shared<FabricCommunicator>(std::move(part), fabric_);
  }

 private:
  class LateWork final : public comm::Work {
   public:
    LateWork(comm::WorkPtr inner, std::shared_ptr<EmulatedFabric> fabric,
             std::shared_ptr<EmulatedFabric::Transfer> transfer)
        : inner_(std::move(inner)), fabric_(std::move(fabric)), transfer_(std::move(transfer)) {}
    [[nodiscard]] bool done() const override {
      return inner_->done() && fabric_->end_of(*transfer_) <= std::chrono::steady_clock::now();
    }
    void wait() override {
      inner_->wait();
      std::this_thread::sleep_until(fabric_->end_of(*transfer_));
    }
    [[nodiscard]] int64_t busy_ns() const override { return inner_->busy_ns(); }

   private:
    comm::WorkPtr inner_;
    std::shared_ptr<EmulatedFabric> fabric_;
    std::shared_ptr<EmulatedFabric::Transfer> transfer_;
  };

  std::shared_ptr<EmulatedFabric::Transfer> issue(const at::Tensor& whole, int passes) {
    return fabric_->issue(rank(), passes * ring_bytes(static_cast<double>(whole.nbytes()), size()));
  }
  comm::WorkPtr late(comm::WorkPtr work, std::shared_ptr<EmulatedFabric::Transfer> transfer) {
    return std::make_shared<LateWork>(std::move(work), fabric_, std::move(transfer));
  }

  std::shared_ptr<EmulatedFabric> fabric_;
};

}  // namespace trireme::bench
