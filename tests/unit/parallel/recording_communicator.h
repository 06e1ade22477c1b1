#pragma once

#include "support/forwarding_communicator.h"

#include <functional>
#include <utility>

namespace trireme::parallel {

/// Passes everything on and tells `on_all_reduce` what is about to be reduced.
class RecordingCommunicator final : public test::ForwardingCommunicator {
 public:
  RecordingCommunicator(comm::CommunicatorPtr inner,
                        std::function<void(const at::Tensor&)> on_all_reduce)
      : ForwardingCommunicator(std::move(inner)), on_all_reduce_(std::move(on_all_reduce)) {}

  comm::WorkPtr all_reduce(const at::Tensor& values, comm::ReduceOp op) override {
    on_all_reduce_(values);
    return inner().all_reduce(values, op);
  }

 private:
  std::function<void(const at::Tensor&)> on_all_reduce_;
};

}  // namespace trireme::parallel
