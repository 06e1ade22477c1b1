#pragma once

#include "cuda/blas/product.h"
#include "ops/kernels.h"

namespace trireme::cuda {

/// Something that multiplies matrices on the current stream.
class MatrixProducts {
 public:
  virtual ~MatrixProducts() = default;
  /// False: it cannot do this one, and nothing was enqueued.
  [[nodiscard]] virtual bool run(const Product& product, const Operands& operands) = 0;
};

/// The linear operations of ops::Kernels by matrix products with epilogues. What `products` cannot fuse is done in two steps,
/// with the elementwise operations of `others`; what it cannot multiply at all, by ATen.
class LinearProducts {
 public:
  LinearProducts(MatrixProducts& products, ops::Kernels& others) : products_(products), others_(others) {}

  at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O);
  ops::Kernels::LinearGradients linear_backward(const at::Tensor& dy_NO, const at::Tensor& x_NI, const at::Tensor& weight,
                                                bool transposed, ops::Kernels::Wanted wanted);
  ops::Kernels::LinearGelu linear_gelu(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed,
                                       const at::Tensor& bias_O);
  ops::Kernels::GeluGradients linear_gelu_backward(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed,
                                                   const at::Tensor& before_NI);

 private:
  bool run(const Product& product, const at::Tensor& a, const at::Tensor& b, const at::Tensor& d, const at::Tensor& bias = {},
           const at::Tensor& aux = {});
  at::Tensor input_gradient(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed);

  MatrixProducts& products_;
  ops::Kernels& others_;
};

}  // namespace trireme::cuda
