#include "cuda/comm/nccl_communicator.h"

#include <trireme/comm/device_communicator.h>
#include <trireme/core/error.h>

#include "cuda/comm/nccl_link.h"
#include "cuda/comm/nccl_watch.h"
#include "cuda/comm/nccl_words.h"
#include "cuda/comm/placement.h"
#include "cuda/comm/register.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <fmt/core.h>
#include <unistd.h>

namespace trireme::cuda {
namespace {

using namespace std::chrono_literals;
using comm::WorkPtr;

/// Issuing is an affair of several calls that no other thread's may come between.
std::mutex& issue_mutex() {
  static std::mutex the;
  return the;
}

c10::cuda::CUDAStream communication_stream(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
  const std::lock_guard lock(mutex);
  const auto found = streams.find(device);
  if (found != streams.end()) return found->second;
  return streams.emplace(device, c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device))
      .first->second;
}

cudaStream_t current_stream(int device) {
  return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream();
}

class NcclWork final : public comm::Work {
 public:
  NcclWork(std::shared_ptr<NcclLink> link, std::shared_ptr<Transfer> transfer)
      : link_(std::move(link)), transfer_(std::move(transfer)) {}

  bool done() const override {
    return !transfer_->recorded() && !is_recording(current_stream(link_->device())) &&
           transfer_->complete();
  }

  void wait() override {
    link_->throw_if_poisoned();
    const cudaStream_t stream = current_stream(link_->device());
    if (is_recording(stream) != transfer_->recorded())
      throw Error(ErrorKind::environment,
                  fmt::format("{} was begun {} the recording of a graph and is waited for {} it",
                              transfer_->describe(), transfer_->recorded() ? "inside" : "outside",
                              transfer_->recorded() ? "outside" : "inside"),
                  "wait for every collective before a recording begins, and before it ends");
    transfer_->ended().block(stream);
    transfer_->release();
  }

  void wait_on_host() override {
    check(!transfer_->recorded() && !is_recording(current_stream(link_->device())),
          "the host waits for nothing while a graph is recorded");
    for (int round = 0; !transfer_->complete(); ++round) {
      link_->throw_if_poisoned();  // the watch looks at the deadline
      if (round < 100)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(round < 1000 ? 20us : 500us);
    }
    wait();
  }

  int64_t busy_ns() const override { return done() ? transfer_->nanoseconds() : 0; }

 private:
  std::shared_ptr<NcclLink> link_;
  std::shared_ptr<Transfer> transfer_;
};

class NcclCommunicator final : public comm::Communicator {
 public:
  NcclCommunicator(c10::Device device, std::shared_ptr<NcclLink> link)
      : ranks_(link->ranks()),
        device_(device),
        link_(std::move(link)),
        token_(at::zeros({1}, at::TensorOptions(device).dtype(at::kFloat))) {}
  ~NcclCommunicator() override {
    link_->retire();
    Watch::of_process().wake();
  }

  int rank() const override { return ranks_->rank(); }
  int size() const override { return ranks_->size(); }
  const std::string& name() const override { return ranks_->name(); }

  WorkPtr all_reduce(const at::Tensor& values, comm::ReduceOp op) override {
    check_tensor(values);
    const auto type = nccl_type(values.scalar_type(), /*reduced=*/true);
    return issue("all_reduce", values.nbytes(), {values},
                 [&](ncclComm_t ranks, cudaStream_t stream) {
                   return ncclAllReduce(values.const_data_ptr(), values.data_ptr(), count(values),
                                        type, nccl_operation(op), ranks, stream);
                 });
  }

  WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in, comm::ReduceOp op) override {
    check_pair(out, in);
    check(in.numel() == size() * out.numel(),
          "reduce_scatter wants an input of one part a rank, each as large as the output");
    const auto type = nccl_type(in.scalar_type(), /*reduced=*/true);
    return issue("reduce_scatter", in.nbytes(), {out, in},
                 [&](ncclComm_t ranks, cudaStream_t stream) {
                   return ncclReduceScatter(in.const_data_ptr(), out.data_ptr(), count(out), type,
                                            nccl_operation(op), ranks, stream);
                 });
  }

  WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) override {
    check_pair(out, in);
    check(out.numel() == size() * in.numel(),
          "all_gather wants an output of one part a rank, each as large as the input");
    const auto type = nccl_type(in.scalar_type(), /*reduced=*/false);
    return issue("all_gather", out.nbytes(), {out, in}, [&](ncclComm_t ranks, cudaStream_t stream) {
      return ncclAllGather(in.const_data_ptr(), out.data_ptr(), count(in), type, ranks, stream);
    });
  }

  WorkPtr broadcast(const at::Tensor& values, int root) override {
    check_tensor(values);
    check_member(root);
    const auto type = nccl_type(values.scalar_type(), /*reduced=*/false);
    return issue("broadcast", values.nbytes(), {values},
                 [&](ncclComm_t ranks, cudaStream_t stream) {
                   return ncclBroadcast(values.const_data_ptr(), values.data_ptr(), count(values),
                                        type, root, ranks, stream);
                 });
  }

  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in) override {
    check_pair(out, in);
    check(in.numel() == out.numel() && in.numel() % size() == 0,
          "all_to_all wants an input and an output of the same size, a multiple of the ranks");
    const auto type = nccl_type(in.scalar_type(), /*reduced=*/false);
    return issue("all_to_all", in.nbytes(), {out, in}, [&](ncclComm_t ranks, cudaStream_t stream) {
      return ncclAlltoAll(in.const_data_ptr(), out.data_ptr(),
                          count(in) / static_cast<size_t>(size()), type, ranks, stream);
    });
  }

  WorkPtr send(const at::Tensor& values, int to) override {
    check_tensor(values);
    check_peer(to);
    const auto type = nccl_type(values.scalar_type(), /*reduced=*/false);
    return issue("send", values.nbytes(), {values}, [&](ncclComm_t ranks, cudaStream_t stream) {
      return ncclSend(values.const_data_ptr(), count(values), type, to, ranks, stream);
    });
  }

  WorkPtr recv(const at::Tensor& values, int from) override {
    check_tensor(values);
    check_peer(from);
    const auto type = nccl_type(values.scalar_type(), /*reduced=*/false);
    return issue("recv", values.nbytes(), {values}, [&](ncclComm_t ranks, cudaStream_t stream) {
      return ncclRecv(values.data_ptr(), count(values), type, from, ranks, stream);
    });
  }

  WorkPtr barrier() override {
    return issue("barrier", token_.nbytes(), {token_}, [&](ncclComm_t ranks, cudaStream_t stream) {
      return ncclAllReduce(token_.const_data_ptr(), token_.data_ptr(), 1, ncclFloat32, ncclSum,
                           ranks, stream);
    });
  }

  std::vector<std::string> gather_bytes(std::string_view mine, int root) override {
    link_->throw_if_poisoned();
    return ranks_->gather_bytes(mine, root);
  }
  std::vector<std::string> all_gather_bytes(std::string_view mine) override {
    link_->throw_if_poisoned();
    return ranks_->all_gather_bytes(mine);
  }
  std::string broadcast_bytes(std::string_view mine, int root) override {
    link_->throw_if_poisoned();
    return ranks_->broadcast_bytes(mine, root);
  }

  comm::CommunicatorPtr split(int color, int key, const std::string& part_name) override {
    link_->throw_if_poisoned();
    const comm::CommunicatorPtr ranks = ranks_->split(color, key, part_name);
    const c10::cuda::CUDAGuard guard(device_);
    const std::lock_guard order(issue_mutex());
    if (ranks == nullptr) {
      link_->split(nullptr, color, key);
      return nullptr;
    }
    const auto part = std::make_shared<NcclLink>(ranks, device_.index(), link_.get());
    return join(part, device_, [&] { link_->split(part.get(), color, key); });
  }

  /// A communicator of a link that `open` opens. The watch looks after it from then on, also if
  /// that fails: it takes down what there is.
  template <class Open>
  static comm::CommunicatorPtr join(const std::shared_ptr<NcclLink>& link, c10::Device device,
                                    const Open& open) {
    try {
      open();
      auto made = std::make_shared<NcclCommunicator>(device, link);
      Watch::of_process().add(link);
      return made;
    } catch (...) {
      link->retire();
      Watch::of_process().add(link);
      throw;
    }
  }

  void poison(const Error& reason) override { link_->health().poison(reason); }
  std::shared_ptr<const Error> poisoned() const override {
    if (const auto reason = link_->health().reason()) return reason;
    return ranks_->poisoned();
  }
  void set_deadline(std::chrono::milliseconds deadline) override {
    link_->health().set_deadline(deadline);
    ranks_->set_deadline(deadline);
  }
  std::chrono::milliseconds deadline() const override { return link_->health().deadline(); }

 private:
  static size_t count(const at::Tensor& tensor) { return static_cast<size_t>(tensor.numel()); }

  void check_tensor(const at::Tensor& tensor) const {
    check(tensor.defined() && tensor.device() == device_ && tensor.is_contiguous(),
          "collectives want contiguous tensors on the communicator's device");
  }
  void check_pair(const at::Tensor& out, const at::Tensor& in) const {
    check_tensor(out);
    check_tensor(in);
    check(out.scalar_type() == in.scalar_type(), "input and output are of one type");
  }
  void check_member(int member) const {
    check(member >= 0 && member < size(), "a rank outside the communicator");
  }
  void check_peer(int peer) const {
    check_member(peer);
    check(peer != rank(), "on a GPU a rank sends no messages to itself");
  }

  template <class Enqueue>
  WorkPtr issue(std::string_view what, size_t bytes, std::vector<at::Tensor> tensors,
                const Enqueue& enqueue) {
    link_->throw_if_poisoned();
    const c10::cuda::CUDAGuard guard(device_);
    const std::lock_guard order(issue_mutex());
    const cudaStream_t current = current_stream(device_.index());
    const cudaStream_t stream = communication_stream(device_.index()).stream();
    const auto transfer =
        std::make_shared<Transfer>(what, static_cast<int64_t>(bytes), link_->next_sequence(),
                                   is_recording(current), std::move(tensors));
    if (transfer->recorded()) link_->note_recorded();
    Event ready(/*timed=*/false);
    ready.record(current);
    ready.block(stream);
    transfer->begin(stream);
    try {
      if (bytes > 0) link_->call(what, [&](ncclComm_t ranks) { return enqueue(ranks, stream); });
    } catch (...) {
      // It may have been enqueued nevertheless, and use its tensors.
      transfer->end(stream);
      if (!transfer->recorded()) link_->track(transfer);
      throw;
    }
    transfer->end(stream);
    if (!transfer->recorded()) link_->track(transfer);
    return std::make_shared<NcclWork>(link_, transfer);
  }

  comm::CommunicatorPtr ranks_;
  c10::Device device_;
  std::shared_ptr<NcclLink> link_;
  at::Tensor token_;  // what a barrier adds up
};

Placement own_placement(int device) {
  Placement mine;
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  mine.host = host;
  mine.pid = ::getpid();
  mine.device = device;
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess || !nccl_version_fits(version))
    mine.problem = fmt::format("NCCL {} was loaded, but this program was built for {}",
                               nccl_version_text(version), nccl_version_text(NCCL_VERSION_CODE));
  mine.library = nccl_version_text(version);
  cudaDeviceProp properties{};
  const cudaError_t found = cudaGetDeviceProperties(&properties, device);
  if (found != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    mine.problem = fmt::format("CUDA device {}: {}", device, cudaGetErrorString(found));
  } else {
    for (const char byte : properties.uuid.bytes)
      mine.uuid += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return mine;
}

/// Rank 0's, on all ranks.
ncclUniqueId agree_on_id(comm::Communicator& ranks) {
  ncclUniqueId id{};
  std::string bytes;
  ncclResult_t result = ncclSuccess;
  if (ranks.rank() == 0) {
    result = ncclGetUniqueId(&id);
    if (result == ncclSuccess) bytes.assign(id.internal, sizeof id.internal);
  }
  bytes = ranks.broadcast_bytes(bytes, 0);
  if (result != ncclSuccess) {
    const char* const detail = ncclGetLastError(nullptr);
    throw nccl_error(result, "opening rank 0's meeting point", detail != nullptr ? detail : "");
  }
  if (bytes.size() != sizeof id.internal)
    throw Error(ErrorKind::environment, "NCCL could not open a meeting point on rank 0",
                "see the error of rank 0");
  std::memcpy(id.internal, bytes.data(), bytes.size());
  return id;
}

}  // namespace

comm::CommunicatorPtr make_nccl_communicator(const comm::CommunicatorPtr& ranks,
                                             c10::Device device) {
  check(device.is_cuda() && device.has_index(),
        "NCCL communicates between CUDA devices with an index");
  const Placement mine = own_placement(device.index());
  std::vector<Placement> all;
  for (const std::string& text : ranks->all_gather_bytes(encode(mine)))
    all.push_back(decode_placement(text));
  const char* const share = std::getenv("TRIREME_SHARE_GPU");
  check_placements(all, share != nullptr && std::string_view(share) == "1");
  if (any_gpu_is_shared(all))
    for (const auto& [key, value] : sharing_environment(mine))
      ::setenv(key.c_str(), value.c_str(), /*overwrite=*/0);
  // Else NCCL's ranks talk to each other while a graph is recorded, and wait for those that record none at that step.
  ::setenv("NCCL_GRAPH_REGISTER", "0", /*overwrite=*/0);

  const ncclUniqueId id = agree_on_id(*ranks);
  const c10::cuda::CUDAGuard guard(device);
  const auto link = std::make_shared<NcclLink>(ranks, device.index(), nullptr);
  return NcclCommunicator::join(link, device, [&] { link->open(id); });
}

void register_nccl() {
  comm::register_device_communicators(c10::kCUDA, make_nccl_communicator);
}

}  // namespace trireme::cuda
