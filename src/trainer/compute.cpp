#include "trainer/compute.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include <trireme/autograd/backward.h>
#include <trireme/core/log.h>
#include <trireme/device/backend.h>
#include <trireme/device/cores.h>
#include <trireme/device/optimization.h>
#include <trireme/device/select.h>
#include <trireme/device/tune.h>
#include <trireme/ops/attention.h>
#include <trireme/telemetry/memory.h>

#include "ops/kernels.h"

#include <ATen/Context.h>

namespace trireme::trainer {
namespace {

/// The cores that a rank may keep busy, from the affinity masks of all ranks of its host.
int threads_of_rank(comm::World& world) {
  const std::vector<std::string> masks = world.all()->all_gather_bytes(device::format_cores(device::affinity_cores()));
  const comm::RankInfo& mine = world.ranks()[static_cast<size_t>(world.rank())];
  std::vector<std::vector<int>> local;
  for (size_t r = 0; r < masks.size(); ++r)
    if (world.ranks()[r].host == mine.host) local.push_back(device::parse_cores(masks[r]));
  return device::choose_threads(device::fair_threads(device::affinity_cores(), local), std::getenv("OMP_NUM_THREADS"));
}

}  // namespace

Compute prepare_compute(const RunConfig& config, comm::World& world) {
  Compute compute;
  const comm::RankInfo& mine = world.ranks()[static_cast<size_t>(world.rank())];
  compute.device = device::select(config.device, mine.local_rank, config.run.deterministic);
  compute.threads = device::tune_process(threads_of_rank(world)).threads;
  telemetry::install_counting_allocator();
  // A limit is the device's; on others than the CPU select() has set it.
  telemetry::limit_memory(compute.device.is_cpu() ? config.device.memory_limit_mib.value_or(0) << 20 : 0);
  autograd::install_engine();
  if (config.run.deterministic) {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  }
  if (compute.device.is_cpu() || world.rank() != 0) return compute;
  const device::ComputeSettings settings = device::compute_settings(config.device, config.run.deterministic);
  log::info("device.optimization_level: {}: tf32 {}, cudnn_benchmark {}, channels_last {}", config.device.optimization_level,
            settings.tf32, settings.cudnn_benchmark, device::channels_last(config.device));
  return compute;
}

std::string describe(c10::Device device) {
  const device::Backend* const backend = device::backend_of(device.type());
  if (backend == nullptr) return device.str();
  const device::Accelerator& one = backend->devices().at(static_cast<size_t>(device.index()));
  constexpr double gib = 1 << 30;
  return fmt::format("{} ({}, {:.1f} GiB)", device.str(), one.name, static_cast<double>(one.memory_bytes) / gib);
}

std::unique_ptr<StepGraphs> make_graphs(const Execution& execution, c10::Device device, bool deterministic, comm::World& world) {
  // What is the fastest differs from run to run.
  const bool autotune = execution.autotune && !deterministic;
  if (ops::Kernels* const kernels = ops::registered_kernels(device.type())) kernels->set_autotune(autotune);
  ops::set_attention_autotune(autotune && !device.is_cpu());
  if (device.is_cpu()) return nullptr;
  log::info("algorithms of matrix products and attention: {}", autotune ? "chosen by timing them" : "as the libraries propose");
  if (!execution.why_eager.empty()) log::info("steps are not repeated as a graph: {}", execution.why_eager);
  if (execution.graph == Execution::Graph::off) return nullptr;
  return std::make_unique<StepGraphs>(
      *device::backend_of(device.type()), device.index(),
      execution.graph == Execution::Graph::required ? StepGraphs::Mode::required : StepGraphs::Mode::automatic,
      [all = world.all()](bool here) {
        const std::vector<std::string> ranks = all->all_gather_bytes(here ? "1" : "0");
        return std::ranges::all_of(ranks, [](const std::string& one) { return one == "1"; });
      });
}

}  // namespace trireme::trainer
