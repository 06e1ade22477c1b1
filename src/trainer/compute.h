#pragma once

#include <memory>

#include <trireme/comm/world.h>

#include "trainer/execution.h"
#include "trainer/run_config.h"
#include "trainer/step_graphs.h"

#include <c10/core/Device.h>

namespace trireme::trainer {

/// What a rank computes with.
struct Compute {
  c10::Device device = c10::Device(c10::kCPU);
  int threads = 1;
};

/// Takes this rank's device and sets up the process for it: threads, allocator, limits, switches. Every rank calls; the back end
/// has been opened before the world was joined.
[[nodiscard]] Compute prepare_compute(const RunConfig& config, comm::World& world);

/// "cuda:0 (NVIDIA H200, 140.4 GiB)", for the log.
[[nodiscard]] std::string describe(c10::Device device);

/// Switches the kernels as the plan says; the graphs of steps, or null where steps stay eager. Logs on rank 0 what was chosen.
[[nodiscard]] std::unique_ptr<StepGraphs> make_graphs(const Execution& execution, c10::Device device, bool deterministic,
                                                      comm::World& world);

}  // namespace trireme::trainer
