#include "cuda/blas/linear_products.h"

#include <trireme/core/error.h>

#include "cuda/ops/tensors.h"

#include <string>
#include <utility>

#include <ATen/Context.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>

namespace trireme::cuda {

namespace {

using Kernels = ops::Kernels;

bool uses_tf32() {
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) == at::Float32Precision::TF32;
}

/// Checks what the products take for granted: they only see addresses.
LinearShape shape_of(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed) {
  check(x_NI.dim() == 2 && weight.dim() == 2 && x_NI.is_contiguous() && weight.is_contiguous() &&
            x_NI.scalar_type() == weight.scalar_type() && x_NI.device() == weight.device() &&
            x_NI.size(1) == weight.size(transposed ? 1 : 0),
        "linear kernels take a dense x [N, I] and a dense weight of its type, device and width");
  return {element_of(x_NI), uses_tf32(), x_NI.size(0), x_NI.size(1), weight.size(transposed ? 0 : 1), transposed};
}

/// The same of a gradient dy [N, O].
LinearShape shape_behind(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed) {
  LinearShape turned = shape_of(dy_NO, weight, !transposed);
  std::swap(turned.in, turned.out);
  turned.transposed = transposed;
  return turned;
}

void check_vector(const at::Tensor& bias, const at::Tensor& like, int64_t size) {
  check(!bias.defined() ||
            (bias.dim() == 1 && bias.size(0) == size && bias.is_contiguous() && bias.scalar_type() == like.scalar_type()),
        "linear kernels take a dense bias of the output's width and type");
}

at::Tensor seen_as_IO(const at::Tensor& weight, bool transposed) { return transposed ? weight.t() : weight; }

}  // namespace

bool LinearProducts::run(const Product& product, const at::Tensor& a, const at::Tensor& b, const at::Tensor& d,
                         const at::Tensor& bias, const at::Tensor& aux) {
  if (product.m == 0 || product.n == 0 || product.k == 0 || !may_fuse(product)) return false;
  const auto address = [](const at::Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; };
  return products_.run(product, {a.const_data_ptr(), b.const_data_ptr(), d.mutable_data_ptr(), address(bias), address(aux)});
}

at::Tensor LinearProducts::linear(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) {
  const LinearShape shape = shape_of(x_NI, weight, transposed);
  check_vector(bias_O, x_NI, shape.out);
  const at::Tensor y_NO = at::empty({shape.rows, shape.out}, x_NI.options());
  const Epilogue epilogue = bias_O.defined() ? Epilogue::bias : Epilogue::none;
  if (run(linear_product(shape, epilogue), weight, x_NI, y_NO, bias_O)) return y_NO;
  const at::Tensor w_IO = seen_as_IO(weight, transposed);
  return bias_O.defined() ? at::addmm(bias_O, x_NI, w_IO) : at::mm(x_NI, w_IO);
}

Kernels::LinearGelu LinearProducts::linear_gelu(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed,
                                                const at::Tensor& bias_O) {
  const LinearShape shape = shape_of(x_NI, weight, transposed);
  check_vector(bias_O, x_NI, shape.out);
  if (bias_O.defined()) {
    const Product fused = linear_product(shape, Epilogue::bias_gelu);
    if (may_fuse(fused)) {
      const at::Tensor y_NO = at::empty({shape.rows, shape.out}, x_NI.options());
      const at::Tensor before_NO = at::empty_like(y_NO);
      if (run(fused, weight, x_NI, y_NO, bias_O, before_NO)) return {y_NO, before_NO};
    }
  }
  const at::Tensor before_NO = linear(x_NI, weight, transposed, bias_O);
  return {others_.gelu(before_NO), before_NO};
}

at::Tensor LinearProducts::input_gradient(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed) {
  const LinearShape shape = shape_behind(dy_NO, weight, transposed);
  const at::Tensor dx_NI = at::empty({shape.rows, shape.in}, dy_NO.options());
  if (run(input_gradient_product(shape, Epilogue::none), weight, dy_NO, dx_NI)) return dx_NI;
  return at::mm(dy_NO, seen_as_IO(weight, transposed).t());
}

Kernels::LinearGradients LinearProducts::linear_backward(const at::Tensor& dy_NO, const at::Tensor& x_NI,
                                                         const at::Tensor& weight, bool transposed, Kernels::Wanted wanted) {
  const LinearShape shape = shape_of(x_NI, weight, transposed);
  check(dy_NO.dim() == 2 && dy_NO.size(0) == shape.rows && dy_NO.size(1) == shape.out && dy_NO.is_contiguous() &&
            dy_NO.scalar_type() == x_NI.scalar_type(),
        "linear_backward takes a dense gradient [N, O] of x's type");
  Kernels::LinearGradients gradients;
  if (wanted.x) gradients.x_NI = input_gradient(dy_NO, weight, transposed);
  if (wanted.weight) {
    const at::Tensor& a = transposed ? x_NI : dy_NO;
    const at::Tensor& b = transposed ? dy_NO : x_NI;
    const at::Tensor dw = at::empty_like(weight);
    if (wanted.bias) {
      const at::Tensor db_O = at::empty({shape.out}, dy_NO.options());
      if (run(weight_gradient_product(shape, true), a, b, dw, db_O)) {
        gradients.weight = dw;
        gradients.bias_O = db_O;
      }
    }
    if (!gradients.weight.defined())
      gradients.weight = run(weight_gradient_product(shape, false), a, b, dw) ? dw
                         : transposed                                         ? at::mm(dy_NO.t(), x_NI)
                                                                              : at::mm(x_NI.t(), dy_NO);
  }
  if (wanted.bias && !gradients.bias_O.defined()) gradients.bias_O = others_.column_sums(dy_NO, dy_NO.scalar_type());
  return gradients;
}

Kernels::GeluGradients LinearProducts::linear_gelu_backward(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed,
                                                            const at::Tensor& before_NI) {
  const LinearShape shape = shape_behind(dy_NO, weight, transposed);
  check(before_NI.dim() == 2 && before_NI.size(0) == shape.rows && before_NI.size(1) == shape.in && before_NI.is_contiguous() &&
            before_NI.scalar_type() == dy_NO.scalar_type(),
        "linear_gelu_backward takes a dense tensor [N, I] that gelu was applied to, of the gradient's type");
  const Product fused = input_gradient_product(shape, Epilogue::gelu_gradient);
  if (may_fuse(fused)) {
    const at::Tensor d_NI = at::empty_like(before_NI);
    const at::Tensor db_I = at::empty({shape.in}, dy_NO.options());
    if (run(fused, weight, dy_NO, d_NI, db_I, before_NI)) return {d_NI, db_I};
  }
  const at::Tensor d_NI = others_.gelu_backward(before_NI, input_gradient(dy_NO, weight, transposed));
  return {d_NI, others_.column_sums(d_NI, d_NI.scalar_type())};
}

}  // namespace trireme::cuda
