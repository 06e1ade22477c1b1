// The operations of a training step in a bare loop: what the trainer's loop around the same step is
// compared with.
//   bench_bare_loop CONFIG.yaml [key=value ...]
// Same model, optimizer, data and clipping, one rank; no loader, communication, telemetry, records
// or decisions.
#include <trireme/autograd/backward.h>
#include <trireme/config/load.h>
#include <trireme/device/tune.h>
#include <trireme/optim/gradient_norm.h>
#include <trireme/telemetry/memory.h>

#include "bench/blocks.h"
#include "model/registry.h"
#include "trainer/build.h"

#include <ATen/ATen.h>

using namespace trireme;

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  std::vector<std::string> overrides = arguments.words();
  const std::string file = overrides.at(0);
  overrides.erase(overrides.begin());
  const trainer::RunConfig config = config::load<trainer::RunConfig>(file, overrides).value;
  static_cast<void>(device::tune_process(1));
  telemetry::install_counting_allocator();
  autograd::install_engine();

  const trainer::DataParts data = trainer::open_data(config);
  const std::unique_ptr<model::Model> model = model::create_model(config.model);
  model->build({.random = trainer::initial_random(config)});
  const core::ParameterSet parameters = model->parameters();
  const at::Tensor flat = at::zeros({core::elements(parameters)});
  int64_t offset = 0;
  for (const core::Parameter& p : parameters) {
    p.tensor.mutable_grad() = flat.as_strided(p.tensor.sizes(), p.tensor.strides(), offset);
    offset += p.tensor.numel();
  }
  const std::unique_ptr<optim::Optimizer> optimizer =
      optim::make_optimizer(config.optim, parameters);

  std::vector<core::Batch> batches;
  const int64_t size = config.train.batch_size;
  for (int64_t b = 0; b < std::min<int64_t>(64, data.train->size() / size); ++b) {
    std::vector<int64_t> ids(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) ids[static_cast<size_t>(i)] = b * size + i;
    batches.push_back(data.train->read(ids));
  }
  const double weight = model->nominal_weight_per_sample() * static_cast<double>(size);
  size_t next = 0;
  const bench::Plan plan =
      bench::Plan{.warmup = 1000, .blocks = 7, .steps = 1000}.overridden(arguments);
  const std::vector<double> seconds = bench::measure(plan, [&] {
    const model::LossSums sums = model->loss(batches[next++ % batches.size()]);
    autograd::backward(sums.loss_sum, 1.0 / weight);
    const optim::GradientHealth health = optim::gradient_health({flat});
    const at::Tensor clip =
        optim::clip_coefficient(health.square_sum.sqrt(), config.train.max_grad_norm);
    optimizer->step({.lr = config.optim.lr, .gradient_scale = clip, .nonfinite = health.nonfinite});
  });
  bench::report(
      "bare_loop",
      {{"parameters", core::elements(parameters)},
       {"step_us", bench::summary(bench::changed(seconds, [](double s) { return 1e6 * s; }))}});
}
