#pragma once

#include "support/forwarding_communicator.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::parallel {

/// Passes everything on, and fails the test if what is being reduced or gathered was touched before
/// wait() returned.
class WatchedCommunicator final : public test::ForwardingCommunicator {
 public:
  explicit WatchedCommunicator(comm::CommunicatorPtr inner)
      : ForwardingCommunicator(std::move(inner)) {}

  comm::WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in,
                               comm::ReduceOp op) override {
    if (out.is_alias_of(in)) return inner().reduce_scatter(out, in, op);
    auto watched = std::make_shared<WatchedWork>(in);
    watched->inner = this->inner().reduce_scatter(out, in, op);
    return watched;
  }
  comm::WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    auto watched = std::make_shared<WatchedWork>(in);
    watched->inner = this->inner().all_gather(out, in);
    return watched;
  }
  comm::CommunicatorPtr split(int color, int key, const std::string& name) override {
    return std::make_shared<WatchedCommunicator>(inner().split(color, key, name));
  }

 private:
  struct WatchedWork final : comm::Work {
    explicit WatchedWork(const at::Tensor& values) : given(values), was(values.clone()) {}
    [[nodiscard]] bool done() const override { return inner->done(); }
    void wait() override {
      inner->wait();
      EXPECT_TRUE(at::equal(given, was)) << "touched while it was under way";
    }
    [[nodiscard]] int64_t busy_ns() const override { return inner->busy_ns(); }
    at::Tensor given, was;
    comm::WorkPtr inner;
  };
};

}  // namespace trireme::parallel
