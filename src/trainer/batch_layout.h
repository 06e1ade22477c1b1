#pragma once

#include <cstdint>
#include <optional>

namespace trireme::trainer {

/// How a global batch is spread: micro-step m of rank r takes `batch_size` samples from (m * ranks + r) * batch_size on, as far
/// as the global batch reaches. When it does not divide evenly, the last micro-step is partly or wholly empty on some ranks.
struct BatchLayout {
  int64_t batch_size = 0;    ///< samples of a rank and micro-step
  int64_t ranks = 0;
  int64_t global_batch = 0;  ///< samples of an optimizer step
  int64_t micro_steps = 0;
  [[nodiscard]] bool even() const { return batch_size * ranks * micro_steps == global_batch; }
};

/// `global_batch`, if given, fixes the samples of a step whatever the number of ranks is and decides the micro-steps;
/// otherwise it is batch_size * ranks * accumulate. Throws kind `configuration` if both are given and disagree.
[[nodiscard]] BatchLayout lay_out_batch(int64_t batch_size, int64_t ranks, std::optional<int64_t> accumulate,
                                        std::optional<int64_t> global_batch);

/// The number of optimizer steps of a run: `steps`, or `epochs` times the steps of one. Exactly one must be given.
[[nodiscard]] int64_t total_steps(std::optional<int64_t> steps, std::optional<int64_t> epochs, int64_t steps_per_epoch);

}  // namespace trireme::trainer
