#include "cuda/ops/stream.h"

namespace trireme::cuda {

Stream current_stream(const at::Tensor&) { return {}; }

}  // namespace trireme::cuda
