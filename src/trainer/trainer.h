#pragma once

#include <cstdint>
#include <memory>

#include <trireme/comm/world.h>
#include <trireme/config/load.h>
#include <trireme/guard/run_lock.h>
#include <trireme/guard/stop_requests.h>

#include "trainer/run_config.h"

namespace trireme::trainer {

/// What the outside may know of a run while it goes on, for the record of a failure.
struct RunStatus {
  std::unique_ptr<guard::RunLock> lock;  ///< rank 0's; held until the end has been recorded
  bool folder_is_ours = false;  ///< the run folder's lock is held by this run
  int64_t step = -1;            ///< steps completed
};

/// One run from configuration to the last step; every rank of the world calls it. Returns 0 when all steps are done and 75
/// after a request to stop, with the state saved. Throws Errors of all kinds; `status` is kept current for whoever catches them.
/// `signals`: made before the world, so that a request during the set-up is not lost.
int run_training(const config::Loaded<RunConfig>& loaded, comm::World& world, const guard::StopSignals& signals,
                 RunStatus& status);

}  // namespace trireme::trainer
