#include "cuda/comm/nccl_link.h"

#include <trireme/core/error.h>
#include <trireme/core/log.h>

#include "cuda/comm/nccl_watch.h"
#include "cuda/comm/nccl_words.h"

#include <chrono>
#include <thread>
#include <utility>

#include <fmt/core.h>

namespace trireme::cuda {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto patience_with_abort = 10s;

ncclConfig_t configuration(const char* name) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.commName = name;
  return config;
}

}  // namespace

NcclLink::NcclLink(comm::CommunicatorPtr ranks, int device, const NcclLink* parent)
    : ranks_(std::move(ranks)),
      device_(device),
      health_(comm::Health::make(
          parent != nullptr ? parent->health_ : nullptr, [] { Watch::of_process().wake(); },
          std::make_shared<comm::Heartbeat>(comm::steady_ns()))),
      name_(ranks_->name()) {
  health_->set_deadline(ranks_->deadline());
}

void NcclLink::throw_if_poisoned() const {
  health_->throw_if_poisoned();
  if (const auto reason = ranks_->poisoned()) {
    health_->poison(*reason);
    throw Error(*reason);
  }
}

void NcclLink::open(const ncclUniqueId& id) {
  ncclConfig_t config = configuration(name_.c_str());
  std::unique_lock lock(use_);
  const ncclResult_t result =
      ncclCommInitRankConfig(&handle_, ranks_->size(), id, ranks_->rank(), &config);
  settle(lock, handle_, result, "joining the ranks");
}

void NcclLink::split(NcclLink* part, int color, int key) {
  ncclComm_t none = nullptr;
  ncclConfig_t config = configuration(part != nullptr ? part->name_.c_str() : nullptr);
  call("split", [&](ncclComm_t whole) {
    return ncclCommSplit(whole, part != nullptr ? color : NCCL_SPLIT_NOCOLOR, key,
                         part != nullptr ? &part->handle_ : &none, &config);
  });
  if (part == nullptr) return;
  std::unique_lock lock(part->use_);
  part->settle(lock, part->handle_, ncclInProgress, "joining the ranks");
}

void NcclLink::call(std::string_view what, const Call& issue) {
  throw_if_poisoned();
  std::unique_lock lock(use_);
  if (leaving_) health_->throw_if_poisoned();
  check(!leaving_ && handle_ != nullptr, "a communicator is used after its end");
  const ncclResult_t result = issue(handle_);
  settle(lock, handle_, result, what);
}

/// Asks until NCCL has done in the background what it was called for.
void NcclLink::settle(std::unique_lock<std::mutex>& lock, ncclComm_t& handle, ncclResult_t result,
                      std::string_view what) {
  const auto begun = Clock::now();
  for (int round = 0; result == ncclInProgress; ++round) {
    lock.unlock();
    throw_if_poisoned();
    if (Clock::now() - begun > health_->deadline()) {
      health_->poison(hang(std::string(what)));
      throw Error(*health_->reason());
    }
    if (round < 100)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(round < 1000 ? 20us : 500us);
    lock.lock();
    if (leaving_) break;
    if (const ncclResult_t asked = ncclCommGetAsyncError(handle, &result); asked != ncclSuccess)
      result = asked;
  }
  // An end that the watch has made looks like a failure.
  if (leaving_ || health_->poisoned()) {
    lock.unlock();
    throw_if_poisoned();
    check(false, "a communicator is used after its end");
  }
  if (result == ncclSuccess) return;
  const char* const detail = ncclGetLastError(handle);
  const Error error =
      nccl_error(result, fmt::format("{} on rank {} of {}", what, ranks_->rank(), name_),
                 detail != nullptr ? detail : "");
  lock.unlock();
  health_->poison(error);
  throw Error(*health_->reason());
}

void NcclLink::track(std::shared_ptr<Transfer> transfer) {
  const std::lock_guard lock(transfers_mutex_);
  transfers_.push_back(std::move(transfer));
}

Error NcclLink::hang(const std::string& what) const {
  return Error(ErrorKind::hang,
               fmt::format("rank {} of {}: {} of communicator {} did not end within {:.3g} s",
                           ranks_->rank(), name_, what, name_,
                           std::chrono::duration<double>(health_->deadline()).count()),
               "other ranks have not entered this operation, or the work before it on this GPU has "
               "not ended: see what they "
               "do (debugger, flight records); if they are only slow, give the communicator a "
               "longer deadline");
}

bool NcclLink::look(bool may_ask) {
  const bool gone = gone_;
  if (gone && health_->poisoned()) {
    // Whatever was under way is over, or will be when the process ends.
    const std::lock_guard lock(transfers_mutex_);
    for (const auto& transfer : transfers_) transfer->release();
    transfers_.clear();
  }
  if (!health_->poisoned()) {
    if (const auto reason = ranks_->poisoned()) health_->poison(*reason);
  }
  if (!leaving_ && !health_->poisoned()) ask_nccl();
  if (may_ask && !gone) look_at_transfers();
  bool idle = false;
  {
    const std::lock_guard lock(transfers_mutex_);
    idle = transfers_.empty();
  }
  if (!leaving_ && (health_->poisoned() || (retired_ && idle))) {
    leaving_ = true;
    leaving_since_ = Clock::now();
    // NCCL's own end may wait for peers and graphs, for ever: nobody waits for it.
    std::thread([self = shared_from_this(), abort = health_->poisoned()] {
      self->take_down(abort);
    }).detach();
  }
  if (leaving_ && !gone && health_->poisoned() && !warned_ &&
      Clock::now() - leaving_since_ > patience_with_abort) {
    log::warning(
        "NCCL has not aborted communicator '{}' within {} s: the GPU is free when this process "
        "ends",
        name_, std::chrono::seconds(patience_with_abort).count());
    warned_ = true;
  }
  return !(gone && retired_);
}

void NcclLink::ask_nccl() {
  const std::unique_lock lock(use_, std::try_to_lock);
  if (!lock.owns_lock() || handle_ == nullptr) return;
  ncclResult_t result = ncclSuccess;
  if (ncclCommGetAsyncError(handle_, &result) != ncclSuccess) return;
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* const detail = ncclGetLastError(handle_);
  health_->poison(
      nccl_error(result, fmt::format("in the background of rank {} of {}", ranks_->rank(), name_),
                 detail != nullptr ? detail : ""));
}

void NcclLink::look_at_transfers() {
  const auto now = Clock::now();
  while (true) {
    std::shared_ptr<Transfer> first;
    {
      const std::lock_guard lock(transfers_mutex_);
      if (transfers_.empty()) return;
      first = transfers_.front();
    }
    cudaError_t failed = cudaSuccess;
    if (!first->complete(&failed)) {
      if (failed != cudaSuccess)
        health_->poison(
            Error(ErrorKind::unexpected,
                  fmt::format("rank {} of {}: the GPU failed before {} ended: {}", ranks_->rank(),
                              name_, first->describe(), cudaGetErrorString(failed)),
                  "CUDA_LAUNCH_BLOCKING=1 shows which kernel failed"));
      else if (first->overdue(now, health_->deadline()))
        health_->poison(hang(first->describe()));
      return;
    }
    first->release();
    const std::lock_guard lock(transfers_mutex_);
    transfers_.pop_front();
  }
}

void NcclLink::take_down(bool abort) {
  ncclComm_t handle = nullptr;
  {
    std::unique_lock lock(use_, std::defer_lock);
    // A call that does not come back must not protect itself from its abort.
    const auto begun = Clock::now();
    while (!lock.try_lock() && Clock::now() - begun < 2s) std::this_thread::sleep_for(1ms);
    handle = std::exchange(handle_, nullptr);
  }
  if (handle != nullptr) static_cast<void>(abort ? ncclCommAbort(handle) : ncclCommDestroy(handle));
  gone_ = true;
  Watch::of_process().wake();
}

}  // namespace trireme::cuda
