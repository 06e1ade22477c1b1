#include <trireme/core/error.h>
#include <trireme/ops/embedding.h>

#include "ops/kernels.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

class EmbeddingFunction : public torch::autograd::Function<EmbeddingFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& weight_VC,
                            const at::Tensor& indices) {
    context->saved_data["indices"] = indices;  // not save_for_backward: no activations
    context->saved_data["rows"] = weight_VC.size(0);
    return at::embedding(weight_VC, indices);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor& dy = gradients[0];
    const at::Tensor indices_N = context->saved_data["indices"].toTensor().reshape({-1});
    const at::Tensor dy_NC = dy.reshape({indices_N.numel(), dy.size(-1)}).contiguous();
    return {kernels_for(dy)->embedding_backward(dy_NC, indices_N.contiguous(),
                                                context->saved_data["rows"].toInt()),
            {}};
  }
};

}  // namespace

at::Tensor embedding(const at::Tensor& weight_VC, const at::Tensor& indices) {
  check(weight_VC.dim() == 2 && indices.scalar_type() == at::kLong,
        "embedding takes a weight [V, C] and int64 indices");
  if (kernels_for(weight_VC) == nullptr) return at::embedding(weight_VC, indices);
  return EmbeddingFunction::apply(weight_VC, indices);
}

}  // namespace trireme::ops
