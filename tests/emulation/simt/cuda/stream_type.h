#pragma once

namespace trireme::cuda {

/// Kernels run when they are launched: there is nothing to tell apart.
struct Stream {};

}  // namespace trireme::cuda
