#pragma once

namespace trireme::emulated {

/// Answers LibTorch's general questions about the accelerator.
void register_hooks();

}  // namespace trireme::emulated
