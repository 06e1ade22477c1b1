#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

namespace trireme::emulated {

/// Any operation, done by LibTorch's code for the CPU on the memory of the device.
void run_on_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack);

}  // namespace trireme::emulated
