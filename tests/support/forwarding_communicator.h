#pragma once

#include <trireme/comm/communicator.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::test {

/// Passes everything on: the base of communicators that watch or change some of it.
class ForwardingCommunicator : public comm::Communicator {
 public:
  explicit ForwardingCommunicator(comm::CommunicatorPtr inner) : inner_(std::move(inner)) {}

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int size() const override { return inner_->size(); }
  [[nodiscard]] const std::string& name() const override { return inner_->name(); }
  comm::WorkPtr all_reduce(const at::Tensor& values, comm::ReduceOp op) override {
    return inner_->all_reduce(values, op);
  }
  comm::WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in,
                               comm::ReduceOp op) override {
    return inner_->reduce_scatter(out, in, op);
  }
  comm::WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    return inner_->all_gather(out, in);
  }
  comm::WorkPtr broadcast(const at::Tensor& values, int root) override {
    return inner_->broadcast(values, root);
  }
  comm::WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in) override {
    return inner_->all_to_all(out, in);
  }
  comm::WorkPtr send(const at::Tensor& values, int to) override { return inner_->send(values, to); }
  comm::WorkPtr recv(const at::Tensor& values, int from) override {
    return inner_->recv(values, from);
  }
  comm::WorkPtr barrier() override { return inner_->barrier(); }
  std::vector<std::string> gather_bytes(std::string_view mine, int root) override {
    return inner_->gather_bytes(mine, root);
  }
  std::vector<std::string> all_gather_bytes(std::string_view mine) override {
    return inner_->all_gather_bytes(mine);
  }
  std::string broadcast_bytes(std::string_view mine, int root) override {
    return inner_->broadcast_bytes(mine, root);
  }
  comm::CommunicatorPtr split(int color, int key, const std::string& name) override {
    return inner_->split(color, key, name);
  }
  void poison(const Error& reason) override { inner_->poison(reason); }
  [[nodiscard]] std::shared_ptr<const Error> poisoned() const override {
    return inner_->poisoned();
  }
  void set_deadline(std::chrono::milliseconds deadline) override { inner_->set_deadline(deadline); }
  [[nodiscard]] std::chrono::milliseconds deadline() const override { return inner_->deadline(); }

 protected:
  [[nodiscard]] comm::Communicator& inner() const { return *inner_; }

 private:
  comm::CommunicatorPtr inner_;
};

}  // namespace trireme::test
