// The MPI communicator's all-reduce (sum, float32, in place), as peers/all_reduce.py times gloo's:
//   mpirun -np 2 bench_all_reduce [--blocks N] [--warmup N] [MIB ...]
#include <trireme/comm/world.h>
#include <trireme/core/error.h>

#include "bench/blocks.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

using namespace trireme;

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  std::vector<std::string> sizes = arguments.words();
  if (sizes.empty()) sizes = {"1", "4", "16", "64"};
  at::set_num_threads(1);
  const std::unique_ptr<comm::World> world = comm::join_world();
  const comm::CommunicatorPtr all = world->all();
  const int ranks = all->size();
  nlohmann::json figures;
  for (const std::string& size : sizes) {
    const auto elements = static_cast<int64_t>(std::stod(size) * (1 << 18));
    const at::Tensor values =
        at::full({elements}, static_cast<double>(all->rank() + 1), at::kFloat);
    all->all_reduce(values)->wait();
    check(at::eq(values, ranks * (ranks + 1) / 2).all().item<bool>(), "the sum of all ranks");
    values.zero_();  // sums stay finite however often they are summed
    bench::Plan plan{.warmup = 5, .blocks = 7};
    plan.steps = std::max<int64_t>(4, std::llround(256 / std::stod(size)));
    plan = plan.overridden(arguments);
    all->barrier()->wait();
    const std::vector<double> seconds =
        bench::measure(plan, [&] { all->all_reduce(values)->wait(); });
    figures[size] = {
        {"ms", bench::summary(bench::changed(seconds, [](double s) { return 1e3 * s; }))}};
  }
  if (all->rank() == 0) bench::report("all_reduce", {{"ranks", ranks}, {"mib", figures}});
  world->finalize();
}
