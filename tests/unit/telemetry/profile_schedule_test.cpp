#include <trireme/telemetry/profile_schedule.h>

#include <vector>

#include <gtest/gtest.h>

namespace trireme::telemetry {
namespace {

using enum ProfileAction;

/// The words of PyTorch's documentation, walked step by step: skip, then cycles of wait, warm up and record, the last
/// recorded step saves.
std::vector<ProfileAction> walked(const ProfileConfig& config, int64_t steps) {
  std::vector<ProfileAction> actions;
  for (int64_t i = 0; i < config.skip_first; ++i) actions.push_back(none);
  for (int64_t cycle = 0; (config.repeat == 0 || cycle < config.repeat) && static_cast<int64_t>(actions.size()) < steps; ++cycle) {
    for (int64_t i = 0; i < config.wait; ++i) actions.push_back(none);
    for (int64_t i = 0; i < config.warmup; ++i) actions.push_back(warmup);
    for (int64_t i = 1; i < config.active; ++i) actions.push_back(record);
    actions.push_back(record_and_save);
  }
  actions.resize(static_cast<size_t>(steps), none);
  return actions;
}

TEST(ProfileSchedule, IsPyTorchsForEverySmallSetting) {
  constexpr int64_t steps = 30;
  for (int64_t skip = 0; skip < 4; ++skip)
    for (int64_t wait = 0; wait < 4; ++wait)
      for (int64_t warm = 0; warm < 4; ++warm)
        for (int64_t active = 1; active < 4; ++active)
          for (int64_t repeat = 0; repeat < 4; ++repeat) {
            const ProfileConfig config{.skip_first = skip, .wait = wait, .warmup = warm, .active = active, .repeat = repeat};
            const std::vector<ProfileAction> expected = walked(config, steps);
            for (int64_t step = 0; step < steps; ++step)
              ASSERT_EQ(profile_action(config, step), expected[static_cast<size_t>(step)])
                  << skip << " " << wait << " " << warm << " " << active << " " << repeat << ", step " << step;
          }
}

TEST(ProfileSchedule, TheExampleOfItsDocumentation) {
  const ProfileConfig config{.skip_first = 1, .wait = 1, .warmup = 1, .active = 2, .repeat = 1};
  const std::vector<ProfileAction> expected{none, none, warmup, record, record_and_save, none, none, none};
  for (size_t step = 0; step < expected.size(); ++step)
    EXPECT_EQ(profile_action(config, static_cast<int64_t>(step)), expected[step]) << step;
}

}  // namespace
}  // namespace trireme::telemetry
