#include "cuda/blas/product.h"

namespace trireme::cuda {

namespace {

Product product(const LinearShape& shape, Epilogue epilogue) {
  Product made;
  made.type = shape.type;
  made.tf32 = shape.tf32 && shape.type == Element::float32;
  made.epilogue = epilogue;
  return made;
}

}  // namespace

Product linear_product(const LinearShape& shape, Epilogue epilogue) {
  Product y = product(shape, epilogue);
  y.transpose_a = shape.transposed;
  y.m = y.ldd = shape.out;
  y.n = shape.rows;
  y.k = y.ldb = shape.in;
  y.lda = shape.transposed ? shape.in : shape.out;
  return y;
}

Product input_gradient_product(const LinearShape& shape, Epilogue epilogue) {
  Product dx = product(shape, epilogue);
  dx.transpose_a = !shape.transposed;
  dx.m = dx.ldd = shape.in;
  dx.n = shape.rows;
  dx.k = dx.ldb = shape.out;
  dx.lda = shape.transposed ? shape.in : shape.out;
  return dx;
}

Product weight_gradient_product(const LinearShape& shape, bool with_bias) {
  const Epilogue sums = shape.transposed ? Epilogue::row_sums_of_b : Epilogue::row_sums_of_a;
  Product dw = product(shape, with_bias ? sums : Epilogue::none);
  dw.transpose_b = true;
  dw.m = dw.lda = dw.ldd = shape.transposed ? shape.in : shape.out;
  dw.n = dw.ldb = shape.transposed ? shape.out : shape.in;
  dw.k = shape.rows;
  return dw;
}

bool may_fuse(const Product& product) {
  if (product.epilogue != Epilogue::bias_gelu && product.epilogue != Epilogue::gelu_gradient) return true;
  return product.type != Element::float32 && product.ldd % 8 == 0;
}

}  // namespace trireme::cuda
