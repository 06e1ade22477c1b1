#pragma once

namespace trireme::emulated {

/// The CUDA back end's kernels, run on the CPU.
void register_kernels();

}  // namespace trireme::emulated
