#include "cuda/comm/nccl_watch.h"

#include "cuda/comm/nccl_link.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include <pthread.h>

namespace trireme::cuda {
namespace {

using namespace std::chrono_literals;

constexpr auto interval = 50ms;
constexpr auto patience_at_exit = 5s;

}  // namespace

// Lives as long as the process: communicators may be destroyed after any object with a destructor.
Watch& Watch::of_process() {
  static Watch* const the = [] {
    auto* made = new Watch;
    std::atexit([] { of_process().stop(); });
    return made;
  }();
  return *the;
}

Watch::Watch() : thread_([this] { run(); }) {}

void Watch::add(std::shared_ptr<NcclLink> link) {
  const std::lock_guard lock(mutex_);
  links_.push_back(std::move(link));
}

void Watch::wake() {
  {
    const std::lock_guard lock(mutex_);
    roused_ = true;
  }
  changed_.notify_all();
}

std::vector<std::shared_ptr<NcclLink>> Watch::links() {
  const std::lock_guard lock(mutex_);
  return links_;
}

Watch::Pause::Pause() : asking_(of_process().asking_) {}

void Watch::will_replay(int device) {
  for (const auto& link : links())
    if (link->recorded() && !link->unused() && link->device() == device) link->throw_if_poisoned();
}

void Watch::replayed(int device, cudaStream_t stream) {
  std::shared_ptr<Transfer> step;
  for (const auto& link : links()) {
    if (!link->recorded() || link->leaving() || link->device() != device) continue;
    if (step == nullptr) {
      step = std::make_shared<Transfer>("the collectives of a recorded graph", 0, 0,
                                        /*recorded=*/false, std::vector<at::Tensor>{});
      step->end(stream);
    }
    link->track(step);
  }
}

void Watch::run() {
  pthread_setname_np(pthread_self(), "nccl-watch");
  // Its questions must not end a recording of another thread.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  if (cudaThreadExchangeStreamCaptureMode(&mode) != cudaSuccess)
    static_cast<void>(cudaGetLastError());
  int device = -1;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    changed_.wait_for(lock, interval, [&] { return roused_ || stop_; });
    roused_ = false;
    const std::vector<std::shared_ptr<NcclLink>> all = links_;
    lock.unlock();
    std::vector<std::shared_ptr<NcclLink>> over;
    {
      const std::unique_lock asking(asking_, std::try_to_lock);
      for (const auto& link : all) {
        // A thread's first question would otherwise begin to use device 0.
        if (asking.owns_lock() && link->device() != device &&
            cudaSetDevice(link->device()) == cudaSuccess)
          device = link->device();
        if (!link->look(asking.owns_lock() && link->device() == device)) over.push_back(link);
      }
    }
    lock.lock();
    std::erase_if(links_,
                  [&](const auto& link) { return std::ranges::find(over, link) != over.end(); });
    if (!over.empty()) changed_.notify_all();
  }
}

void Watch::stop() {
  std::unique_lock lock(mutex_);
  // Those that nobody uses are about to be gone; CUDA must not be taken away from under them.
  const auto leaving = [&] {
    return std::ranges::any_of(links_, [](const auto& link) { return link->unused(); });
  };
  changed_.wait_for(lock, patience_at_exit, [&] { return !leaving(); });
  stop_ = true;
  lock.unlock();
  changed_.notify_all();
  thread_.join();
}

}  // namespace trireme::cuda
