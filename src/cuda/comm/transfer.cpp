#include "cuda/comm/transfer.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

namespace trireme::cuda {

Transfer::Transfer(std::string_view what, int64_t bytes, uint64_t sequence, bool recorded,
                   std::vector<at::Tensor> tensors)
    : what_(what),
      bytes_(bytes),
      sequence_(sequence),
      recorded_(recorded),
      end_(/*timed=*/!recorded),
      tensors_(std::move(tensors)) {
  if (!recorded) start_.emplace(/*timed=*/true);
}

void Transfer::begin(cudaStream_t stream) {
  if (start_) start_->record(stream);
}

void Transfer::end(cudaStream_t stream) {
  end_.record(stream);
}

bool Transfer::complete(cudaError_t* failed) const {
  if (complete_.load(std::memory_order_acquire)) return true;
  if (recorded_) return false;
  const cudaError_t result = end_.reached();
  if (result == cudaSuccess)
    complete_.store(true, std::memory_order_release);
  else if (result != cudaErrorNotReady && failed != nullptr)
    *failed = result;
  return result == cudaSuccess;
}

int64_t Transfer::nanoseconds() const {
  if (!start_ || !complete_.load(std::memory_order_acquire)) return 0;
  return std::max<int64_t>(1, static_cast<int64_t>(Event::milliseconds(*start_, end_) * 1e6));
}

void Transfer::release() {
  std::vector<at::Tensor> gone;  // freed after the lock
  const std::lock_guard lock(mutex_);
  gone.swap(tensors_);
}

std::string Transfer::describe() const {
  return fmt::format("{} of {} bytes, operation {}", what_, bytes_, sequence_);
}

}  // namespace trireme::cuda
