#include "cuda/ops/activation.h"
#include "cuda/ops/bias.h"
#include "cuda/ops/cuda_kernels.h"
#include "cuda/ops/dropout.h"
#include "cuda/ops/square_sum.h"
#include "cuda/ops/stream.h"
#include "cuda/ops/tensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

namespace trireme::cuda {

at::Tensor CudaKernels::gelu(const at::Tensor& x) {
  check_alike(x, {});
  const at::Tensor y = at::empty_like(x);
  gelu_forward(element_of(x), x.const_data_ptr(), y.mutable_data_ptr(), x.numel(), current_stream(x));
  return y;
}

at::Tensor CudaKernels::gelu_backward(const at::Tensor& x, const at::Tensor& dy) {
  check_alike(x, {dy});
  const at::Tensor dx = at::empty_like(x);
  cuda::gelu_backward(element_of(x), x.const_data_ptr(), dy.const_data_ptr(), dx.mutable_data_ptr(), x.numel(), current_stream(x));
  return dx;
}

at::Tensor CudaKernels::swiglu(const at::Tensor& gate, const at::Tensor& up) {
  check_alike(gate, {up});
  const at::Tensor y = at::empty_like(gate);
  swiglu_forward(element_of(gate), gate.const_data_ptr(), up.const_data_ptr(), y.mutable_data_ptr(), gate.numel(),
                 current_stream(gate));
  return y;
}

ops::Kernels::SwigluGradients CudaKernels::swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& dy) {
  check_alike(gate, {up, dy});
  const SwigluGradients d{at::empty_like(gate), at::empty_like(up)};
  cuda::swiglu_backward(element_of(gate), gate.const_data_ptr(), up.const_data_ptr(), dy.const_data_ptr(),
                        d.gate.mutable_data_ptr(), d.up.mutable_data_ptr(), gate.numel(), current_stream(gate));
  return d;
}

at::Tensor CudaKernels::add_bias(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& bias_C) {
  check(residual.sizes() == x.sizes() && residual.is_contiguous() && x.dim() > 0 && bias_C.dim() == 1 &&
            bias_C.size(0) == x.size(-1) && bias_C.numel() > 0,
        "add_bias takes dense tensors of one shape, and a bias of their last dimension");
  const auto type = residual.scalar_type() == at::kFloat ? x.scalar_type() : residual.scalar_type();
  const at::Tensor addend = x.to(type).contiguous(), bias = bias_C.to(type).contiguous();
  const at::Tensor y = at::empty_like(residual);
  cuda::add_bias({element_of(residual), element_of(addend), residual.const_data_ptr(), addend.const_data_ptr(),
                  bias.const_data_ptr(), y.mutable_data_ptr(), x.numel() / bias.numel(), bias.numel()},
                 current_stream(residual));
  return y;
}

at::Tensor CudaKernels::column_sums(const at::Tensor& dy_NC, at::ScalarType type) {
  check(dy_NC.dim() == 2 && dy_NC.is_contiguous(), "column_sums takes a dense matrix");
  const int64_t rows = dy_NC.size(0), columns = dy_NC.size(1);
  const at::Tensor partial = at::empty({column_slices(rows, columns), columns}, dy_NC.options().dtype(at::kFloat));
  const at::Tensor sums = at::empty({columns}, dy_NC.options().dtype(type));
  cuda::column_sums(element_of(dy_NC), dy_NC.const_data_ptr(), rows, columns, partial.mutable_data_ptr<float>(), element_of(sums),
                    sums.mutable_data_ptr(), current_stream(dy_NC));
  return sums;
}

at::Tensor CudaKernels::dropout(const at::Tensor& x, double p, const at::Tensor& seeds_B) {
  check(x.dim() > 0 && x.is_contiguous() && seeds_B.dim() == 1 && seeds_B.is_contiguous() && seeds_B.size(0) == x.size(0) &&
            seeds_B.device() == x.device(),
        "dropout takes a dense tensor, and on its device one seed for each element of its first dimension");
  const at::Tensor y = at::empty_like(x);
  if (x.numel() > 0)
    cuda::dropout(element_of(x), x.const_data_ptr(), y.mutable_data_ptr(), x.size(0), x.numel() / x.size(0),
                  seeds_B.const_data_ptr<int64_t>(), p, current_stream(x));
  return y;
}

at::Tensor CudaKernels::fold_keys(const at::Tensor& keys_B, uint64_t site) {
  check(keys_B.is_contiguous(), "fold_keys takes a dense tensor");
  const at::Tensor folded = at::empty_like(keys_B);
  cuda::fold_keys(keys_B.const_data_ptr<int64_t>(), folded.mutable_data_ptr<int64_t>(), keys_B.numel(), site,
                  current_stream(keys_B));
  return folded;
}

at::Tensor CudaKernels::square_sum(const std::vector<at::Tensor>& buffers) {
  check(!buffers.empty(), "square_sum takes at least one buffer, for its device");
  std::vector<FloatBuffer> all;
  for (const at::Tensor& buffer : buffers) {
    check(buffer.is_contiguous() && buffer.device() == buffers[0].device(), "square_sum takes dense buffers of one device");
    all.push_back({buffer.const_data_ptr<float>(), buffer.numel()});
  }
  const auto count = static_cast<int64_t>(all.size());
  const auto options = buffers[0].options().dtype(at::kDouble);
  const at::Tensor parts = at::empty({square_sum_parts(all.data(), count)}, options), sum = at::empty({}, options);
  cuda::square_sum(all.data(), count, parts.mutable_data_ptr<double>(), sum.mutable_data_ptr<double>(),
                   current_stream(buffers[0]));
  return sum;
}

}  // namespace trireme::cuda
