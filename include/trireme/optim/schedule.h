#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace trireme::optim {

struct ScheduleConfig {
  std::string name = "cosine";
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0.0;
  double power = 1.0;
  int64_t decay_every = 1000;
  double gamma = 0.1;
  double decay_fraction = 0.2;
  std::string decay_shape = "linear";
  double peak_at = 0.3;
  double start_lr_ratio = 0.04;
  int64_t patience = 10;
  double threshold = 1e-4;

  template <class B>
  void bind(B& b) {
    b.key("name", name)
        .doc("how the learning rate changes over the run")
        .one_of({"constant", "linear", "cosine", "polynomial", "step", "exponential", "wsd",
                 "one_cycle", "plateau"})
        .identity();
    b.key("warmup_steps", warmup_steps)
        .doc("the rate rises linearly to its peak")
        .unit("steps")
        .at_least(0)
        .identity();
    b.key("min_lr_ratio", min_lr_ratio)
        .doc("the rate falls no lower than this part of the peak")
        .at_least(0.0)
        .at_most(1.0)
        .identity();
    b.key("power", power).doc("polynomial: exponent of the fall").above(0.0).identity();
    b.key("decay_every", decay_every)
        .doc("step, exponential: steps in which the rate falls by gamma")
        .unit("steps")
        .at_least(1)
        .identity();
    b.key("gamma", gamma)
        .doc("step, exponential, plateau: factor of one fall")
        .above(0.0)
        .at_most(1.0)
        .identity();
    b.key("decay_fraction", decay_fraction)
        .doc("wsd: part of the run, at its end, in which the rate falls")
        .above(0.0)
        .at_most(1.0)
        .identity();
    b.key("decay_shape", decay_shape)
        .doc("wsd: shape of the fall; sqrt: 1 - sqrt(progress)")
        .one_of({"linear", "cosine", "sqrt"})
        .identity();
    b.key("peak_at", peak_at)
        .doc("one_cycle without warm-up: part of the run in which the rate rises")
        .above(0.0)
        .below(1.0)
        .identity();
    b.key("start_lr_ratio", start_lr_ratio)
        .doc("one_cycle without warm-up: first rate as a part of the peak")
        .at_least(0.0)
        .at_most(1.0)
        .identity();
    b.key("patience", patience)
        .doc("plateau: evaluations without improvement that are borne before the rate falls")
        .unit("evaluations")
        .at_least(0)
        .identity();
    b.key("threshold", threshold)
        .doc("plateau: relative improvement that counts")
        .at_least(0.0)
        .identity();
  }
};

/// The learning rate of step `step` (from 0) of `total_steps`. Step s < warmup_steps gives base_lr
/// * (s + 1) / warmup_steps; later ones depend on progress = (s - warmup_steps) / (total_steps -
/// warmup_steps), which is 1 past the end. `evaluations` is what plateau decides by: one number an
/// evaluation made before this step, oldest first, lower is better.
[[nodiscard]] double learning_rate(const ScheduleConfig& config, double base_lr, int64_t step,
                                   int64_t total_steps, std::span<const double> evaluations = {});

/// How often plateau has lowered the rate after these evaluations: each time more than `patience`
/// in a row did not improve the best by the relative `threshold` (the rule of PyTorch's
/// ReduceLROnPlateau in mode min, without cooldown).
[[nodiscard]] int64_t plateau_falls(const ScheduleConfig& config,
                                    std::span<const double> evaluations);

}  // namespace trireme::optim
