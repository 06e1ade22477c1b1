#pragma once

#include "cuda/blas/blas_lt.h"
#include "cuda/blas/linear_products.h"
#include "cuda/ops/cuda_kernels.h"

namespace trireme::cuda {

/// The kernels of this back end: those of our own, and cuBLASLt's.
class CublasKernels final : public CudaKernels {
 public:
  /// See BlasLt; off at first.
  void set_autotune(bool on) override { products_.set_autotune(on); }

  at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) override;
  LinearGradients linear_backward(const at::Tensor& dy_NO, const at::Tensor& x_NI, const at::Tensor& weight, bool transposed,
                                  Wanted wanted) override;
  LinearGelu linear_gelu(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) override;
  GeluGradients linear_gelu_backward(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed,
                                     const at::Tensor& before_NI) override;

 private:
  BlasLt products_;
  LinearProducts linear_{products_, *this};
};

}  // namespace trireme::cuda
