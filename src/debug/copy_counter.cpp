#include "debug/copy_counter.h"

#include "debug/side_scope.h"

#include <string_view>

#include <ATen/ATen.h>

namespace trireme::debug {

namespace {

// Callbacks of LibTorch are plain functions.
thread_local CopyCounter* counter_here = nullptr;

}  // namespace

CopyCounter::CopyCounter()
    : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(&CopyCounter::look)
                                             .needsInputs(true)
                                             .scopes({at::RecordScope::FUNCTION}))) {
  counter_here = this;
}

CopyCounter::~CopyCounter() {
  counter_here = nullptr;
  at::removeCallback(handle_);
}

std::unique_ptr<at::ObserverContext> CopyCounter::look(const at::RecordFunction& function) {
  // LibTorch's device threads inherit the callback, but not the counter.
  if (counter_here != nullptr && !SideScope::entered()) counter_here->count(function);
  return nullptr;
}

void CopyCounter::count(const at::RecordFunction& function) {
  const std::string_view name = function.name();
  const auto inputs = function.inputs();
  if (name == "aten::copy_") {
    if (inputs.size() < 2 || !inputs[0].isTensor() || !inputs[1].isTensor()) return;
    const at::Tensor &to = inputs[0].toTensor(), &from = inputs[1].toTensor();
    if (!to.defined() || !from.defined() || to.device() == from.device()) return;
    Copies& one = copies_[{from.device().str(), to.device().str()}];
    ++one.copies;
    one.bytes += static_cast<int64_t>(from.nbytes());
  } else if (name == "aten::_local_scalar_dense") {
    if (!inputs.empty() && inputs[0].isTensor() && !inputs[0].toTensor().is_cpu()) ++host_reads_;
  }
}

}  // namespace trireme::debug
