#include "communicators.h"

#include <trireme/comm/device_communicator.h>

#include "emulated.h"
#include "heap.h"
#include "host_sync.h"
#include "support/forwarding_communicator.h"
#include "tape.h"

#include <memory>
#include <optional>
#include <utility>

#include <ATen/ops/from_blob.h>

namespace trireme::emulated {
namespace {

using comm::WorkPtr;

/// The host's view of a tensor of the device, which keeps it.
at::Tensor on_host(const at::Tensor& tensor, bool keep) {
  const at::TensorOptions options = at::TensorOptions().dtype(tensor.scalar_type());
  return at::from_blob(
      tensor.mutable_data_ptr(), tensor.sizes(), tensor.strides(),
      [kept = keep ? tensor : at::Tensor()](void*) {}, options);
}

/// What the host's communicator works on: the device's memory is open meanwhile.
struct UnderWay {
  WorkPtr work;
  std::unique_ptr<Access> access;

  explicit UnderWay(WorkPtr started)
      : work(std::move(started)), access(std::make_unique<Access>()) {}
  void wait() {
    work->wait();
    access.reset();
  }
};

class Work final : public comm::Work {
 public:
  /// `repeated`: where a recorded operation puts its work at each replay; null for others.
  Work(WorkPtr work, std::shared_ptr<std::optional<UnderWay>> repeated)
      : now_(std::move(work)), repeated_(std::move(repeated)) {}
  bool done() const override { return now_.work->done(); }
  void wait() override {
    now_.wait();
    Tape* tape = Tape::here();
    if (tape != nullptr && repeated_ != nullptr)
      tape->append("waiting for a collective", [slot = std::exchange(repeated_, nullptr)] {
        (*slot)->wait();
        slot->reset();
      });
  }
  void wait_on_host() override {
    host_sync("waiting for a collective");
    wait();
  }
  int64_t busy_ns() const override { return now_.work->busy_ns(); }

 private:
  UnderWay now_;
  std::shared_ptr<std::optional<UnderWay>> repeated_;
};

class Communicator final : public test::ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;

  WorkPtr all_reduce(const at::Tensor& values, comm::ReduceOp op) override {
    return run([op](comm::Communicator& ranks, const at::Tensor& x,
                    const at::Tensor&) { return ranks.all_reduce(x, op); },
               values, {});
  }
  WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in, comm::ReduceOp op) override {
    return run([op](comm::Communicator& ranks, const at::Tensor& to,
                    const at::Tensor& from) { return ranks.reduce_scatter(to, from, op); },
               out, in);
  }
  WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    return run([](comm::Communicator& ranks, const at::Tensor& to,
                  const at::Tensor& from) { return ranks.all_gather(to, from); },
               out, in);
  }
  WorkPtr broadcast(const at::Tensor& values, int root) override {
    return run([root](comm::Communicator& ranks, const at::Tensor& x,
                      const at::Tensor&) { return ranks.broadcast(x, root); },
               values, {});
  }
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in) override {
    return run([](comm::Communicator& ranks, const at::Tensor& to,
                  const at::Tensor& from) { return ranks.all_to_all(to, from); },
               out, in);
  }
  WorkPtr send(const at::Tensor& values, int to) override {
    return run([to](comm::Communicator& ranks, const at::Tensor& x,
                    const at::Tensor&) { return ranks.send(x, to); },
               values, {});
  }
  WorkPtr recv(const at::Tensor& values, int from) override {
    return run([from](comm::Communicator& ranks, const at::Tensor& x,
                      const at::Tensor&) { return ranks.recv(x, from); },
               values, {});
  }
  comm::CommunicatorPtr split(int color, int key, const std::string& name) override {
    const comm::CommunicatorPtr part = inner().split(color, key, name);
    return part == nullptr ? nullptr : std::make_shared<Communicator>(part);
  }

 private:
  /// f(ranks, first, second): `first` is written, as far as anything is.
  template <class F>
  WorkPtr run(F f, const at::Tensor& first, const at::Tensor& second) {
    for (const at::Tensor* tensor : {&first, &second})
      TORCH_CHECK(!tensor->defined() || tensor->device().type() == device_type,
                  "a collective of devices on memory of the host");
    const auto view = [](const at::Tensor& tensor, bool keep) {
      return tensor.defined() ? on_host(tensor, keep) : at::Tensor();
    };
    const Access access;
    std::shared_ptr<std::optional<UnderWay>> repeated;
    if (Tape* tape = Tape::here()) {
      tape->will_write(first.storage().data());
      for (const at::Tensor* tensor : {&first, &second})
        if (tensor->defined()) tape->uses(tensor->storage().data());
      repeated = std::make_shared<std::optional<UnderWay>>();
      tape->append("a collective", [f, repeated, ranks = &inner(), a = view(first, false),
                                    b = view(second, false)] {
        const Access again;
        repeated->emplace(f(*ranks, a, b));
      });
    }
    return std::make_shared<Work>(f(inner(), view(first, true), view(second, true)),
                                  std::move(repeated));
  }
};

}  // namespace

void register_communicators() {
  comm::register_device_communicators(device_type,
                                      [](const comm::CommunicatorPtr& ranks, c10::Device) {
                                        return std::make_shared<Communicator>(ranks);
                                      });
}

}  // namespace trireme::emulated
