#include "debug/copy_counter.h"

#include "debug/side_scope.h"

#include <string_view>
#include <vector>

#include <ATen/ATen.h>

namespace trireme::debug {

namespace {

// Callbacks of LibTorch are plain functions.
thread_local CopyCounter* counter_here = nullptr;

// LibTorch's threads inherit the callback, but not the counter of the thread that they work for.
std::mutex counters_mutex;
std::vector<CopyCounter*> counters;

constexpr std::string_view copy = "aten::copy_", host_read = "aten::_local_scalar_dense";

}  // namespace

CopyCounter::CopyCounter()
    : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(&CopyCounter::look)
                                             .needsInputs(true)
                                             .scopes({at::RecordScope::FUNCTION}))) {
  counter_here = this;
  const std::lock_guard lock(counters_mutex);
  counters.push_back(this);
}

CopyCounter::~CopyCounter() {
  at::removeCallback(handle_);
  counter_here = nullptr;
  const std::lock_guard lock(counters_mutex);
  std::erase(counters, this);
}

std::unique_ptr<at::ObserverContext> CopyCounter::look(const at::RecordFunction& function) {
  const std::string_view name = function.name();
  if ((name != copy && name != host_read) || SideScope::entered()) return nullptr;
  if (counter_here != nullptr) {
    counter_here->count(function);
    return nullptr;
  }
  const std::lock_guard lock(counters_mutex);
  if (counters.size() == 1) counters.front()->count(function);
  return nullptr;
}

void CopyCounter::count(const at::RecordFunction& function) {
  const auto inputs = function.inputs();
  if (function.name() == copy) {
    if (inputs.size() < 2 || !inputs[0].isTensor() || !inputs[1].isTensor()) return;
    const at::Tensor &to = inputs[0].toTensor(), &from = inputs[1].toTensor();
    if (!to.defined() || !from.defined() || to.device() == from.device()) return;
    const std::lock_guard lock(mutex_);
    Copies& one = copies_[{from.device().str(), to.device().str()}];
    ++one.copies;
    one.bytes += static_cast<int64_t>(from.nbytes());
  } else if (!inputs.empty() && inputs[0].isTensor() && !inputs[0].toTensor().is_cpu()) {
    const std::lock_guard lock(mutex_);
    ++host_reads_;
  }
}

}  // namespace trireme::debug
