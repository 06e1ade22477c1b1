#include "cuda/ops/cross_entropy.h"
#include "cuda/ops/cuda_kernels.h"
#include "cuda/ops/stream.h"
#include "cuda/ops/tensors.h"

#include <ATen/ops/empty.h>

namespace trireme::cuda {

ops::Kernels::CrossEntropyRows CudaKernels::cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N,
                                                          const at::Tensor& mask_N, int64_t ignore_index) {
  const int64_t n = logits_NV.size(0);
  check(logits_NV.dim() == 2 && logits_NV.is_contiguous() && targets_N.sizes() == at::IntArrayRef{n} &&
            targets_N.is_contiguous() && targets_N.device() == logits_NV.device(),
        "cross_entropy takes dense logits [N, V], and targets [N] on their device");
  at::Tensor mask;
  if (mask_N.defined()) {
    check(mask_N.sizes() == targets_N.sizes() && mask_N.device() == logits_NV.device(), "the mask lies where the targets lie");
    mask = mask_N.to(at::kBool).contiguous();
  }
  const auto of = [&](at::IntArrayRef sizes, at::ScalarType type) { return at::empty(sizes, logits_NV.options().dtype(type)); };
  CrossEntropyRows rows{of({}, at::kFloat), of({}, at::kDouble), of({}, at::kDouble),
                        of({n}, at::kLong), of({n}, at::kFloat), of({n}, at::kFloat)};
  const at::Tensor loss = of({n}, at::kFloat), correct = of({n}, at::kBool);
  const Stream stream = current_stream(logits_NV);
  cross_entropy_rows({.type = element_of(logits_NV),
                      .logits = logits_NV.const_data_ptr(),
                      .targets = targets_N.const_data_ptr<int64_t>(),
                      .mask = mask.defined() ? mask.const_data_ptr<bool>() : nullptr,
                      .ignore_index = ignore_index,
                      .rows = n,
                      .columns = logits_NV.size(1),
                      .counted = rows.targets_N.mutable_data_ptr<int64_t>(),
                      .maximum = rows.maximum_N.mutable_data_ptr<float>(),
                      .sum = rows.sum_N.mutable_data_ptr<float>(),
                      .loss = loss.mutable_data_ptr<float>(),
                      .correct = correct.mutable_data_ptr<bool>()},
                     stream);
  cross_entropy_sums(loss.const_data_ptr<float>(), rows.targets_N.const_data_ptr<int64_t>(), correct.const_data_ptr<bool>(), n,
                     rows.loss_sum.mutable_data_ptr<float>(), rows.weight.mutable_data_ptr<double>(),
                     rows.correct.mutable_data_ptr<double>(), stream);
  return rows;
}

void CudaKernels::cross_entropy_backward(const at::Tensor& into_NV, const at::Tensor& logits_NV, const CrossEntropyRows& rows,
                                         const at::Tensor& gradient) {
  check_alike(logits_NV, {into_NV});
  check(gradient.numel() == 1 && gradient.device() == logits_NV.device(), "the gradient of a loss is one number on its device");
  cuda::cross_entropy_backward({.type = element_of(logits_NV),
                                .logits = logits_NV.const_data_ptr(),
                                .into = into_NV.mutable_data_ptr(),
                                .counted = rows.targets_N.const_data_ptr<int64_t>(),
                                .maximum = rows.maximum_N.const_data_ptr<float>(),
                                .sum = rows.sum_N.const_data_ptr<float>(),
                                .gradient = gradient.const_data_ptr<float>(),
                                .rows = logits_NV.size(0),
                                .columns = logits_NV.size(1)},
                               current_stream(logits_NV));
}

}  // namespace trireme::cuda
