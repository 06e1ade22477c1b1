#include "model/layers.h"

#include <cmath>

#include <ATen/ATen.h>

namespace trireme::model {

namespace {

class Linear final : public autograd::Block {
 public:
  Linear(const autograd::BuildContext& context, int64_t in, int64_t out) : Block(context) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in));
    weight_ = parameter_uniform("weight", {out, in}, -bound, bound);
    bias_ = parameter_uniform("bias", {out}, -bound, bound);
  }

  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
    return {at::linear(inputs.at(0), weight_, bias_)};
  }

 private:
  at::Tensor weight_, bias_;
};

}  // namespace

autograd::Unit linear_unit(const std::string& name, int64_t in, int64_t out) {
  return autograd::Unit(name, [=](const autograd::BuildContext& context) {
    return std::make_unique<Linear>(context, in, out);
  });
}

}  // namespace trireme::model
