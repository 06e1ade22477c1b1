#pragma once

#include "cuda/stream_type.h"

#include <ATen/core/Tensor.h>

namespace trireme::cuda {

/// The current stream of the tensor's device: what LibTorch's own operations on it would be enqueued on.
[[nodiscard]] Stream current_stream(const at::Tensor& tensor);

}  // namespace trireme::cuda
