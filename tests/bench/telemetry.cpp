// A training step with telemetry on and off, a few steps each in turn:
//   bench_telemetry CONFIG.yaml [key=value ...]
#include <trireme/autograd/backward.h>
#include <trireme/comm/local.h>
#include <trireme/config/load.h>
#include <trireme/device/tune.h>
#include <trireme/telemetry/memory.h>

#include "bench/blocks.h"
#include "trainer/build.h"
#include "trainer/step.h"

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
  const std::unique_ptr<comm::World> alone = comm::make_local_world();
  telemetry::Recorder recorder;
  trainer::Parts parts = trainer::build_parts(config, *alone, *data.train, at::kCPU,
                                              trainer::Weights::as_configured, recorder);
  const int64_t size = config.train.batch_size;
  trainer::TrainStep step({*parts.model, *parts.data_parallel, *parts.optimizer, *parts.scaler,
                           parts.precision, parts.device.type(), *alone->all(), recorder},
                          parts.model->nominal_weight_per_sample() * static_cast<double>(size),
                          config.train.max_grad_norm);
  data::LoadedBatch batch;
  std::vector<int64_t> ids(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) ids[static_cast<size_t>(i)] = i;
  batch.micro_batches.push_back(data.train->read(ids));

  int64_t number = 0;
  const auto one = [&] {
    recorder.begin_step(number++);
    static_cast<void>(step.run(batch, config.optim.lr, {}));
    recorder.count(telemetry::Counter::samples, size);
    static_cast<void>(recorder.end_step());
  };
  const bench::Plan plan =
      bench::Plan{.warmup = 500, .blocks = 7, .steps = 1000}.overridden(arguments);
  for (int64_t i = 0; i < plan.warmup; ++i) one();
  constexpr int64_t turn = 10;
  std::vector<double> on, off, ratios;
  for (int64_t block = 0; block < plan.blocks; ++block) {
    double seconds[2] = {};
    for (int64_t i = 0; i < plan.steps / turn; ++i)
      for (const bool enabled : {i % 2 == 0, i % 2 != 0}) {
        recorder.set_enabled(enabled);
        const bench::Clock clock;
        for (int64_t s = 0; s < turn; ++s) one();
        seconds[enabled ? 1 : 0] += clock.seconds();
      }
    const double scale = 1e6 / static_cast<double>(plan.steps / turn * turn);
    off.push_back(seconds[0] * scale);
    on.push_back(seconds[1] * scale);
    ratios.push_back(seconds[1] / seconds[0]);
  }
  bench::report("telemetry", {{"on_us", bench::summary(on)},
                              {"off_us", bench::summary(off)},
                              {"ratio", bench::summary(ratios)}});
}
