#include <trireme/core/error.h>
#include <trireme/optim/schedule.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trireme::optim {

namespace {

// From 1 to `low` as progress goes from 0 to 1, along half a cosine.
double cosine_fall(double progress, double low) {
  return low + (1.0 - low) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

double linear_fall(double progress, double low) {
  return 1.0 - (1.0 - low) * progress;
}

// Warm-up, stable, decay (Hu et al. 2024, MiniCPM); the 1 - sqrt shape is that of Hägele et al.
// 2024.
double wsd(const ScheduleConfig& config, double progress) {
  const double fall = (progress - (1.0 - config.decay_fraction)) / config.decay_fraction;
  if (fall <= 0.0) return 1.0;
  if (config.decay_shape == "cosine") return cosine_fall(fall, config.min_lr_ratio);
  if (config.decay_shape == "sqrt") return linear_fall(std::sqrt(fall), config.min_lr_ratio);
  return linear_fall(fall, config.min_lr_ratio);
}

// One rise and one long fall (Smith and Topin 2017). A warm-up, where there is one, is the rise.
double one_cycle(const ScheduleConfig& config, double progress) {
  const double peak = config.warmup_steps > 0 ? 0.0 : config.peak_at;
  if (progress < peak) return cosine_fall(1.0 - progress / peak, config.start_lr_ratio);
  return cosine_fall((progress - peak) / (1.0 - peak), config.min_lr_ratio);
}

double falls(const ScheduleConfig& config, double number) {
  return std::max(config.min_lr_ratio, std::pow(config.gamma, number));
}

}  // namespace

int64_t plateau_falls(const ScheduleConfig& config, std::span<const double> evaluations) {
  double best = INFINITY;
  int64_t bad = 0, count = 0;
  for (const double value : evaluations) {
    // PyTorch's rule `value < best * (1 - threshold)`, with the sign of best taken into account.
    const bool better =
        std::isinf(best) ? value < best : value < best - config.threshold * std::abs(best);
    if (better) {
      best = value;
      bad = 0;
    } else if (++bad > config.patience) {
      ++count;
      bad = 0;
    }
  }
  return count;
}

double learning_rate(const ScheduleConfig& config, double base_lr, int64_t step,
                     int64_t total_steps, std::span<const double> evaluations) {
  const int64_t warmup = config.warmup_steps;
  if (step < warmup) return base_lr * (static_cast<double>(step + 1) / static_cast<double>(warmup));
  const auto since = static_cast<double>(step - warmup);
  const double progress =
      step < total_steps ? since / static_cast<double>(total_steps - warmup) : 1.0;
  const auto every = static_cast<double>(config.decay_every);

  if (config.name == "constant") return base_lr;
  if (config.name == "linear") return base_lr * linear_fall(progress, config.min_lr_ratio);
  if (config.name == "cosine") return base_lr * cosine_fall(progress, config.min_lr_ratio);
  if (config.name == "polynomial")
    return base_lr * (config.min_lr_ratio +
                      (1.0 - config.min_lr_ratio) * std::pow(1.0 - progress, config.power));
  if (config.name == "step") return base_lr * falls(config, std::floor(since / every));
  if (config.name == "exponential") return base_lr * falls(config, since / every);
  if (config.name == "wsd") return base_lr * wsd(config, progress);
  if (config.name == "one_cycle") return base_lr * one_cycle(config, progress);
  if (config.name == "plateau")
    return base_lr * falls(config, static_cast<double>(plateau_falls(config, evaluations)));
  throw Error(ErrorKind::configuration, "schedule.name: '" + config.name + "' is unknown");
}

}  // namespace trireme::optim
