#pragma once

// What a declaration of kernels' launchers needs, for compilers that do not know the CUDA language. The emulation of the tests
// has a file of this name, too.

#include <cuda_runtime_api.h>

namespace trireme::cuda {

using Stream = cudaStream_t;

}  // namespace trireme::cuda
