#pragma once

#include <trireme/core/error.h>

#include "cuda/blas/linear_products.h"
#include "cuda/ops/cuda_kernels.h"

#include <set>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace trireme::cuda {

/// Column-major matrix products on memory of the host, as cuBLASLt would do them, addresses and all. `refused`: epilogues that
/// it says it cannot do.
class EmulatedProducts final : public MatrixProducts {
 public:
  explicit EmulatedProducts(std::set<Epilogue> refused = {}) : refused_(std::move(refused)) {}

  bool run(const Product& p, const Operands& operands) override {
    if (refused_.contains(p.epilogue)) return false;
    const auto type = p.type == Element::float32 ? at::kFloat : p.type == Element::bfloat16 ? at::kBFloat16 : at::kHalf;
    const auto matrix = [&](const void* at, int64_t rows, int64_t columns, int64_t leading) {
      check(leading >= rows, "a leading dimension is at least the number of rows");
      return at::from_blob(const_cast<void*>(at), {rows, columns}, {1, leading}, at::TensorOptions(type));
    };
    const auto vector = [&](int64_t size) { return at::from_blob(operands.bias, {size, 1}, at::TensorOptions(type)); };
    const auto factor = [&](const void* at, bool transpose, int64_t rows, int64_t columns, int64_t leading) {
      const at::Tensor stored = transpose ? matrix(at, columns, rows, leading).t() : matrix(at, rows, columns, leading);
      return stored.to(at::kFloat);
    };
    c10::NoGradGuard no_grad;
    const at::Tensor a_MK = factor(operands.a, p.transpose_a, p.m, p.k, p.lda);
    const at::Tensor b_KN = factor(operands.b, p.transpose_b, p.k, p.n, p.ldb);
    at::Tensor d_MN = at::mm(a_MK, b_KN);
    switch (p.epilogue) {
      case Epilogue::none:
        break;
      case Epilogue::bias:
        d_MN += vector(p.m).to(at::kFloat);
        break;
      case Epilogue::bias_gelu: {
        const at::Tensor before = matrix(operands.aux, p.m, p.n, p.ldd);
        before.copy_(d_MN + vector(p.m).to(at::kFloat));
        d_MN = at::gelu(before.to(at::kFloat), "tanh");
        break;
      }
      case Epilogue::gelu_gradient:
        d_MN = at::gelu_backward(d_MN, matrix(operands.aux, p.m, p.n, p.ldd).to(at::kFloat), "tanh");
        vector(p.m).copy_(d_MN.sum(1, true));
        break;
      case Epilogue::row_sums_of_a:
        vector(p.m).copy_(a_MK.sum(1, true));
        break;
      case Epilogue::row_sums_of_b:
        vector(p.n).copy_(b_KN.sum(0).unsqueeze(1));
        break;
    }
    matrix(operands.d, p.m, p.n, p.ldd).copy_(d_MN);
    return true;
  }

 private:
  std::set<Epilogue> refused_;
};

/// The CUDA back end's kernels on the emulated machine (tests/emulation/simt), for tensors whose memory is the host's.
class EmulatedKernels final : public CudaKernels {
 public:
  explicit EmulatedKernels(std::set<Epilogue> refused = {}) : products_(std::move(refused)) {}

  at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) override {
    return linear_.linear(x_NI, weight, transposed, bias_O);
  }
  LinearGradients linear_backward(const at::Tensor& dy_NO, const at::Tensor& x_NI, const at::Tensor& weight, bool transposed,
                                  Wanted wanted) override {
    return linear_.linear_backward(dy_NO, x_NI, weight, transposed, wanted);
  }
  LinearGelu linear_gelu(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) override {
    return linear_.linear_gelu(x_NI, weight, transposed, bias_O);
  }
  GeluGradients linear_gelu_backward(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed,
                                     const at::Tensor& before_NI) override {
    return linear_.linear_gelu_backward(dy_NO, weight, transposed, before_NI);
  }

 private:
  EmulatedProducts products_;
  LinearProducts linear_{products_, *this};
};

}  // namespace trireme::cuda
