#pragma once

#include <cstdint>

#include <trireme/checkpoint/reader.h>
#include <trireme/core/parameters.h>
#include <trireme/core/state.h>

namespace trireme::trainer {

/// Where the run is, and the parts of its state that belong to no single component: parameters and buffers. Randomness is
/// none of it: every draw is a function of seed, step, micro-step and sample (see step.cpp).
class RunState final : public core::Stateful {
 public:
  RunState(core::ParameterSet parameters, core::ParameterSet buffers)
      : parameters_(std::move(parameters)), buffers_(std::move(buffers)) {}

  int64_t step = 0;          ///< optimizer steps completed
  int64_t position = 0;      ///< samples consumed by all ranks
  int64_t tokens = 0;        ///< likewise
  int64_t global_batch = 0;  ///< kept over a resume, whatever the number of ranks
  int64_t skipped = 0;       ///< updates left out because something was not finite

  void save_state(core::StateWriter& out) const override;
  void load_state(const core::StateReader& in) override;

 private:
  core::ParameterSet parameters_;
  core::ParameterSet buffers_;
};

/// Reads `model/<p>` and `buffer/<b>` alone: a model that is not trained any further. Where the checkpoint has float32
/// masters they are what is read into float32; other types are cast.
void load_model_state(const checkpoint::Reader& in, const core::ParameterSet& parameters, const core::ParameterSet& buffers);

}  // namespace trireme::trainer
