// Batches of shuffled token windows of an HDF5 file through data::Loader:
//   bench_hdf5_loader FILE [--workers N] [--batch N] [--length N]
#include <trireme/data/loader.h>
#include <trireme/data/open.h>
#include <trireme/device/tune.h>

#include "bench/blocks.h"

using namespace trireme;

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  const int64_t batch = arguments.number("batch", 16);
  const int64_t workers = arguments.number("workers", 0);
  static_cast<void>(device::tune_process(1));
  const auto dataset = data::open_dataset(arguments.words(), arguments.number("length", 1024));
  const data::Sampler sampler({.samples = dataset->size(),
                               .global_batch = batch,
                               .seed = 42,
                               .last_batch = data::LastBatch::drop});
  data::Loader loader(dataset, sampler, {}, {.batch_size = batch, .workers = workers});
  int64_t tokens = 0;
  const bench::Plan plan =
      bench::Plan{.warmup = 500, .blocks = 7, .steps = 1000}.overridden(arguments);
  const std::vector<double> seconds = bench::measure(plan, [&] {
    const auto loaded = loader.next();
    tokens += loaded->micro_batches[0].at("tokens").numel();
  });
  bench::report("hdf5_loader",
                {{"workers", workers},
                 {"batch", batch},
                 {"tokens", tokens},
                 {"samples_per_second", bench::summary(bench::changed(seconds, [&](double s) {
                    return static_cast<double>(batch) / s;
                  }))}});
}
