#pragma once

#include <cstdint>

#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/core/state.h>

namespace trireme::trainer {

/// Where the run is, and the parts of its state that belong to no single component: parameters, buffers, and the process's
/// default random generator, which torch::nn modules of plugins draw from (one stream a rank).
class RunState final : public core::Stateful {
 public:
  RunState(core::ParameterSet parameters, core::ParameterSet buffers, int rank, int ranks)
      : parameters_(std::move(parameters)), buffers_(std::move(buffers)), rank_(rank), ranks_(ranks) {}

  int64_t step = 0;          ///< optimizer steps completed
  int64_t position = 0;      ///< samples consumed by all ranks
  int64_t tokens = 0;        ///< likewise
  int64_t global_batch = 0;  ///< kept over a resume, whatever the number of ranks
  int64_t skipped = 0;       ///< updates left out because something was not finite

  void save_state(core::StateWriter& out) const override;
  /// On another number of ranks the default generators start anew from the seed; everything else is exact.
  void load_state(const core::StateReader& in) override;

 private:
  core::ParameterSet parameters_;
  core::ParameterSet buffers_;
  int rank_;
  int ranks_;
};

}  // namespace trireme::trainer
