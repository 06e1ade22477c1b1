#include <trireme/ops/swiglu.h>

#include <trireme/core/error.h>

#include "ops/kernels.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

class SwigluFunction : public torch::autograd::Function<SwigluFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& gate, const at::Tensor& up) {
    context->save_for_backward({gate, up});
    return kernels_for(gate)->swiglu(gate, up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto d = kernels_for(saved[0])->swiglu_backward(saved[0].contiguous(), saved[1].contiguous(), gradients[0].contiguous());
    return {d.gate, d.up};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  check(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(), "swiglu takes two tensors of one shape and type");
  if (gate.scalar_type() == at::kDouble || kernels_for(gate) == nullptr) return at::silu(gate) * up;
  return SwigluFunction::apply(gate.contiguous(), up.contiguous());
}

}  // namespace trireme::ops
