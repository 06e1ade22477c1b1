#pragma once

namespace trireme::cuda {

/// Makes NCCL what communicates between CUDA devices.
void register_nccl();

}  // namespace trireme::cuda
