#include "trainer/batch_layout.h"

#include <trireme/core/error.h>
#include <trireme/data/sampler.h>

#include <fmt/format.h>

namespace trireme::trainer {

BatchLayout lay_out_batch(int64_t batch_size, int64_t ranks, std::optional<int64_t> accumulate,
                          std::optional<int64_t> global_batch) {
  check(batch_size > 0 && ranks > 0, "batch size and ranks are positive");
  if (!global_batch) {
    const int64_t micro_steps = accumulate.value_or(1);
    return {batch_size, ranks, batch_size * ranks * micro_steps, micro_steps};
  }
  const int64_t micro_steps = data::micro_steps(*global_batch, ranks, batch_size);
  if (accumulate && *accumulate != micro_steps)
    throw Error(ErrorKind::configuration,
                fmt::format("train.global_batch {} on {} ranks of train.batch_size {} takes {} micro-steps, but train.accumulate is {}",
                            *global_batch, ranks, batch_size, micro_steps, *accumulate),
                "leave out train.accumulate: global_batch decides it");
  return {batch_size, ranks, *global_batch, micro_steps};
}

int64_t total_steps(std::optional<int64_t> steps, std::optional<int64_t> epochs, int64_t steps_per_epoch) {
  if (steps.has_value() == epochs.has_value())
    throw Error(ErrorKind::configuration,
                steps ? "train.steps and train.epochs are both given" : "neither train.steps nor train.epochs is given",
                "give one of them, e.g. train.steps=1000");
  return steps ? *steps : *epochs * steps_per_epoch;
}

}  // namespace trireme::trainer
