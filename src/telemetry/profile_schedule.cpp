#include <trireme/telemetry/profile_schedule.h>

namespace trireme::telemetry {

ProfileAction profile_action(const ProfileConfig& config, int64_t step) {
  if (step < config.skip_first) return ProfileAction::none;
  step -= config.skip_first;
  const int64_t cycle = config.wait + config.warmup + config.active;
  if (config.repeat > 0 && step / cycle >= config.repeat) return ProfileAction::none;
  const int64_t in_cycle = step % cycle;
  if (in_cycle < config.wait) return ProfileAction::none;
  if (in_cycle < config.wait + config.warmup) return ProfileAction::warmup;
  return in_cycle == cycle - 1 ? ProfileAction::record_and_save : ProfileAction::record;
}

}  // namespace trireme::telemetry
