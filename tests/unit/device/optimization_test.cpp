#include <trireme/core/error.h>
#include <trireme/device/optimization.h>

#include <gmock/gmock.h>

namespace trireme::device {
namespace {

using testing::ElementsAre;

TEST(Optimization, LevelsAreVisibleSwitches) {
  EXPECT_THAT(expand("none"), ElementsAre(Switch{"device.tf32", "false"}, Switch{"device.cudnn_benchmark", "false"},
                                          Switch{"device.channels_last", "false"}, Switch{"train.graph", "off"},
                                          Switch{"train.compile", "off"}));
  EXPECT_THAT(expand("basic"), ElementsAre(Switch{"device.tf32", "true"}, Switch{"device.cudnn_benchmark", "true"},
                                           Switch{"device.channels_last", "false"}, Switch{"train.graph", "auto"},
                                           Switch{"train.compile", "default"}));
  EXPECT_THAT(expand("advanced"), ElementsAre(Switch{"device.tf32", "true"}, Switch{"device.cudnn_benchmark", "true"},
                                              Switch{"device.channels_last", "false"}, Switch{"train.graph", "auto"},
                                              Switch{"train.compile", "max-autotune"}));
  EXPECT_THAT(expand("maximum"), ElementsAre(Switch{"device.tf32", "true"}, Switch{"device.cudnn_benchmark", "true"},
                                             Switch{"device.channels_last", "true"}, Switch{"train.graph", "auto"},
                                             Switch{"train.compile", "max-autotune"}));
}

TEST(Optimization, KeysThatAreSetWin) {
  EXPECT_TRUE(compute_settings({}, false).tf32);
  EXPECT_TRUE(compute_settings({}, false).cudnn_benchmark);
  EXPECT_FALSE(channels_last({}));
  EXPECT_FALSE(compute_settings({.optimization_level = "none"}, false).tf32);
  EXPECT_TRUE(compute_settings({.optimization_level = "none", .tf32 = true}, false).tf32);
  EXPECT_FALSE(compute_settings({.tf32 = false}, false).tf32);
  EXPECT_FALSE(compute_settings({.cudnn_benchmark = false}, false).cudnn_benchmark);
  EXPECT_TRUE(channels_last({.optimization_level = "maximum"}));
  EXPECT_FALSE(channels_last({.optimization_level = "maximum", .channels_last = false}));
  EXPECT_TRUE(channels_last({.channels_last = true}));
  EXPECT_EQ(compute_settings({.memory_fraction = 0.25}, false).memory_fraction, 0.25);
}

TEST(Optimization, DeterministicRunsMeasureNothing) {
  EXPECT_FALSE(compute_settings({}, true).cudnn_benchmark);
  EXPECT_TRUE(compute_settings({}, true).deterministic);
  try {
    static_cast<void>(compute_settings({.cudnn_benchmark = true}, true));
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.message(), testing::HasSubstr("device.cudnn_benchmark"));
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace
}  // namespace trireme::device
