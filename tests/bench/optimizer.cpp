// The end of a step over many tensors: norm, clipping and AdamW with its clearing of the gradients.
//   bench_optimizer [--threads N] [--parameters N] [--tensors N]
#include <trireme/optim/gradient_norm.h>
#include <trireme/optim/optimizer.h>

#include "bench/blocks.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

using namespace trireme;

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  const int64_t threads = arguments.number("threads", 1);
  const int64_t tensors = arguments.number("tensors", 200);
  const auto side = static_cast<int64_t>(std::round(
      std::sqrt(static_cast<double>(arguments.number("parameters", 50'000'000) / tensors))));
  at::set_num_threads(static_cast<int>(threads));

  // Gradients lie as parallel::GradientReducer keeps them: in one buffer, each at a multiple of 64
  // bytes.
  const int64_t stride = (side * side + 15) / 16 * 16;
  const at::Tensor flat = at::zeros({tensors * stride});
  core::ParameterSet parameters;
  for (int64_t i = 0; i < tensors; ++i) {
    const at::Tensor values = at::randn({side, side}).requires_grad_();
    values.mutable_grad() = flat.narrow(0, i * stride, side * side).view({side, side});
    parameters.push_back({"p" + std::to_string(i), values});
  }
  const std::unique_ptr<optim::Optimizer> optimizer = optim::make_optimizer({}, parameters);
  const at::Tensor source = at::randn({side * side}) * 1e-3;

  const bench::Plan plan = bench::Plan{.warmup = 3, .blocks = 7, .steps = 5}.overridden(arguments);
  const std::vector<double> seconds = bench::measure(
      plan,
      [&] {
        const optim::GradientHealth health = optim::gradient_health({flat});
        const at::Tensor clip = optim::clip_coefficient(health.square_sum.sqrt(), 1.0);
        optimizer->step({.lr = 3e-4, .gradient_scale = clip, .nonfinite = health.nonfinite});
      },
      [&] {
        const at::NoGradGuard no_grad;
        for (const core::Parameter& p : parameters) p.tensor.grad().view(-1).copy_(source);
      });
  bench::report(
      "optimizer",
      {{"threads", threads},
       {"parameters", core::elements(parameters)},
       {"tensors", tensors},
       {"ms", bench::summary(bench::changed(seconds, [](double s) { return 1e3 * s; }))}});
}
