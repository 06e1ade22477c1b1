#include "cuda/ops/stream.h"

#include <c10/cuda/CUDAStream.h>

namespace trireme::cuda {

Stream current_stream(const at::Tensor& tensor) {
  return c10::cuda::getCurrentCUDAStream(tensor.device().index()).stream();
}

}  // namespace trireme::cuda
