#pragma once

#include "ops/kernels.h"

namespace trireme::cuda {

/// The kernels of this folder, with memory from LibTorch's allocator of the tensors' device.
class CudaKernels : public ops::Kernels {
 public:
  // cross_entropy_kernels.cpp
  CrossEntropyRows cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N, const at::Tensor& mask_N,
                                 int64_t ignore_index) override;
  void cross_entropy_backward(const at::Tensor& into_NV, const at::Tensor& logits_NV, const CrossEntropyRows& rows,
                              const at::Tensor& gradient) override;
  // elementwise_kernels.cpp
  at::Tensor gelu(const at::Tensor& x) override;
  at::Tensor gelu_backward(const at::Tensor& x, const at::Tensor& dy) override;
  at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) override;
  SwigluGradients swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& dy) override;
  at::Tensor add_bias(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& bias_C) override;
  at::Tensor column_sums(const at::Tensor& dy_NC, at::ScalarType type) override;
  at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& seeds_B) override;
  at::Tensor fold_keys(const at::Tensor& keys_B, uint64_t site) override;
  at::Tensor square_sum(const std::vector<at::Tensor>& buffers) override;
  // sequence_kernels.cpp
  Normed norm(Norm kind, const at::Tensor& x_NC, const at::Tensor& residual_NC, const at::Tensor& weight_C,
              const at::Tensor& bias_C, double epsilon) override;
  NormGradients norm_backward(Norm kind, const at::Tensor& dy_NC, const at::Tensor& dsum_NC, const at::Tensor& s_NC,
                              const at::Tensor& mean_N, const at::Tensor& inverse_N, const at::Tensor& weight_C,
                              bool with_bias) override;
  at::Tensor rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine, const at::Tensor& sine, bool back) override;
  at::Tensor embedding_backward(const at::Tensor& dy_NC, const at::Tensor& indices_N, int64_t rows) override;
  // update_kernels.cpp
  std::unique_ptr<ops::MultiTensorUpdate> make_update(const ops::UpdateRule& rule,
                                                      const std::vector<ops::UpdateEntry>& entries) override;
};

}  // namespace trireme::cuda
