#include <trireme/core/error.h>

#include "cuda/ops/cuda_kernels.h"
#include "cuda/ops/embedding.h"
#include "cuda/ops/norm.h"
#include "cuda/ops/rotary.h"
#include "cuda/ops/stream.h"
#include "cuda/ops/tensors.h"

#include <limits>
#include <tuple>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

namespace trireme::cuda {

namespace {

const void* address(const at::Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }
const float* floats(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }

void check_weight(const at::Tensor& x_NC, const at::Tensor& weight_C) {
  check(x_NC.dim() == 2 && x_NC.is_contiguous() && weight_C.is_contiguous() && weight_C.dim() == 1 && weight_C.numel() > 0 &&
            weight_C.numel() == x_NC.size(1) && x_NC.size(1) <= std::numeric_limits<int32_t>::max() &&
            (weight_C.scalar_type() == at::kFloat || weight_C.scalar_type() == x_NC.scalar_type()),
        "a norm takes rows [N, C], and a weight [C] of their type or float32");
}

}  // namespace

ops::Kernels::Normed CudaKernels::norm(Norm kind, const at::Tensor& x_NC, const at::Tensor& residual_NC, const at::Tensor& weight_C,
                                       const at::Tensor& bias_C, double epsilon) {
  check_weight(x_NC, weight_C);
  if (residual_NC.defined()) check_alike(x_NC, {residual_NC});
  if (bias_C.defined()) check_alike(weight_C, {bias_C});
  const auto of_rows = x_NC.options().dtype(at::kFloat);
  Normed result;
  result.y = at::empty_like(x_NC);
  result.sum = residual_NC.defined() ? at::empty_like(x_NC) : x_NC;
  if (kind == Norm::layer) result.mean_N = at::empty({x_NC.size(0)}, of_rows);
  result.inverse_N = at::empty({x_NC.size(0)}, of_rows);

  NormForward forward;
  forward.type = element_of(x_NC);
  forward.weight_type = element_of(weight_C);
  forward.x = address(x_NC);
  forward.residual = address(residual_NC);
  forward.sum = residual_NC.defined() ? result.sum.mutable_data_ptr() : nullptr;
  forward.weight = address(weight_C);
  forward.bias = address(bias_C);
  forward.y = result.y.mutable_data_ptr();
  forward.mean = result.mean_N.defined() ? result.mean_N.mutable_data_ptr<float>() : nullptr;
  forward.inverse = result.inverse_N.mutable_data_ptr<float>();
  forward.rows = x_NC.size(0);
  forward.columns = x_NC.size(1);
  forward.epsilon = static_cast<float>(epsilon);
  norm_forward(forward, current_stream(x_NC));
  return result;
}

ops::Kernels::NormGradients CudaKernels::norm_backward(Norm kind, const at::Tensor& dy_NC, const at::Tensor& dsum_NC,
                                                       const at::Tensor& s_NC, const at::Tensor& mean_N,
                                                       const at::Tensor& inverse_N, const at::Tensor& weight_C, bool with_bias) {
  check_weight(dy_NC, weight_C);
  check_alike(dy_NC, {s_NC});
  if (dsum_NC.defined()) check_alike(dy_NC, {dsum_NC});
  check(mean_N.defined() == (kind == Norm::layer) && inverse_N.numel() == dy_NC.size(0), "what forward kept of each row");
  NormGradients result;
  result.s = at::empty_like(dy_NC);
  result.weight_C = at::empty_like(weight_C);
  if (with_bias) result.bias_C = at::empty_like(weight_C);

  NormBackward backward;
  backward.type = element_of(dy_NC);
  backward.weight_type = element_of(weight_C);
  backward.dy = address(dy_NC);
  backward.dsum = address(dsum_NC);
  backward.s = address(s_NC);
  backward.mean = floats(mean_N);
  backward.inverse = floats(inverse_N);
  backward.weight = address(weight_C);
  backward.ds = result.s.mutable_data_ptr();
  backward.dweight = result.weight_C.mutable_data_ptr();
  backward.dbias = with_bias ? result.bias_C.mutable_data_ptr() : nullptr;
  backward.rows = dy_NC.size(0);
  backward.columns = dy_NC.size(1);
  const at::Tensor partials = at::empty({norm_backward_partials(backward)}, dy_NC.options().dtype(at::kFloat));
  backward.partials = partials.mutable_data_ptr<float>();
  cuda::norm_backward(backward, current_stream(dy_NC));
  return result;
}

at::Tensor CudaKernels::rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine, const at::Tensor& sine, bool back) {
  check(x_BTHD.dim() == 4 && x_BTHD.is_contiguous() && x_BTHD.size(3) % 2 == 0 && cosine.dim() == 2 &&
            cosine.size(0) == x_BTHD.size(1) && cosine.size(1) == x_BTHD.size(3) / 2 && cosine.scalar_type() == at::kFloat &&
            cosine.is_contiguous(),
        "rotary takes x [B, T, H, D] and float32 tables [T, D/2]");
  check_alike(cosine, {sine});
  const at::Tensor y = at::empty_like(x_BTHD);
  Rotary turn;
  turn.type = element_of(x_BTHD);
  turn.x = address(x_BTHD);
  turn.y = y.mutable_data_ptr();
  turn.cosine = floats(cosine);
  turn.sine = floats(sine);
  turn.samples = x_BTHD.size(0);
  turn.tokens = x_BTHD.size(1);
  turn.heads = x_BTHD.size(2);
  turn.half = cosine.size(1);
  turn.back = back;
  if (y.numel() > 0) cuda::rotary(turn, current_stream(x_BTHD));
  return y;
}

at::Tensor CudaKernels::embedding_backward(const at::Tensor& dy_NC, const at::Tensor& indices_N, int64_t rows) {
  check(dy_NC.dim() == 2 && dy_NC.is_contiguous() && indices_N.dim() == 1 && indices_N.size(0) == dy_NC.size(0) &&
            indices_N.scalar_type() == at::kLong && rows <= std::numeric_limits<int32_t>::max(),
        "embedding_backward takes rows [N, C], and as many int64 indices below 2^31");
  const at::Tensor result = at::zeros({rows, dy_NC.size(1)}, dy_NC.options());
  if (dy_NC.numel() == 0 || rows == 0) return result;
  // A radix sort of half as many bits is twice as fast.
  const auto [keys, places] = at::sort(indices_N.to(at::kInt), /*stable=*/true, /*dim=*/0, /*descending=*/false);
  EmbeddingBackward backward;
  backward.type = element_of(dy_NC);
  backward.dy = address(dy_NC);
  backward.keys = keys.const_data_ptr<int32_t>();
  backward.places = places.const_data_ptr<int64_t>();
  backward.result = result.mutable_data_ptr();
  backward.count = dy_NC.size(0);
  backward.columns = dy_NC.size(1);
  backward.rows = rows;
  const at::Tensor partials = at::empty({embedding_partials(backward.count, backward.columns)}, dy_NC.options().dtype(at::kFloat));
  backward.partials = partials.mutable_data_ptr<float>();
  cuda::embedding_backward(backward, current_stream(dy_NC));
  return result;
}

}  // namespace trireme::cuda
