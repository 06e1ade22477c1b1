#include "cuda/blas/cublas_kernels.h"

namespace trireme::cuda {

at::Tensor CublasKernels::linear(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) {
  return linear_.linear(x_NI, weight, transposed, bias_O);
}

ops::Kernels::LinearGradients CublasKernels::linear_backward(const at::Tensor& dy_NO, const at::Tensor& x_NI,
                                                             const at::Tensor& weight, bool transposed, Wanted wanted) {
  return linear_.linear_backward(dy_NO, x_NI, weight, transposed, wanted);
}

ops::Kernels::LinearGelu CublasKernels::linear_gelu(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed,
                                                    const at::Tensor& bias_O) {
  return linear_.linear_gelu(x_NI, weight, transposed, bias_O);
}

ops::Kernels::GeluGradients CublasKernels::linear_gelu_backward(const at::Tensor& dy_NO, const at::Tensor& weight,
                                                                bool transposed, const at::Tensor& before_NI) {
  return linear_.linear_gelu_backward(dy_NO, weight, transposed, before_NI);
}

}  // namespace trireme::cuda
