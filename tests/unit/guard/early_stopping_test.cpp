#include <trireme/core/error.h>
#include <trireme/guard/early_stopping.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include <gmock/gmock.h>

namespace trireme::guard {
namespace {

using Mode = EarlyStopping::Mode;

struct Scalars final : core::StateWriter, core::StateReader {
  void scalar(const std::string& name, const core::Scalar& value) override { values[name] = value; }
  void replicated(const std::string&, const at::Tensor&) override { FAIL(); }
  void shard(const std::string&, at::IntArrayRef, const core::Box&, const at::Tensor&) override {
    FAIL();
  }
  bool has(const std::string& name) const override { return values.contains(name); }
  core::Scalar scalar(const std::string& name) const override { return values.at(name); }
  std::vector<int64_t> shape(const std::string&) const override { return {}; }
  void read(const std::string&, const core::Box&, const at::Tensor&) const override { FAIL(); }
  std::map<std::string, core::Scalar> values;
};

TEST(EarlyStopping, MinimumWithPatience) {
  EarlyStopping watch(Mode::min, 2);
  EXPECT_TRUE(watch.observe(10, 3.0).improved);
  EXPECT_TRUE(watch.observe(20, 2.0).improved);
  EXPECT_FALSE(watch.observe(30, 2.0).improved);  // equal is no improvement
  EXPECT_EQ(watch.waited(), 1);
  EXPECT_TRUE(watch.observe(40, 1.5).improved);
  EXPECT_FALSE(watch.observe(50, 1.6).stop);
  const auto decision = watch.observe(60, 1.7);
  EXPECT_TRUE(decision.stop);
  EXPECT_FALSE(decision.improved);
  EXPECT_EQ(watch.best()->step, 40);
  EXPECT_EQ(watch.best()->value, 1.5);
}

TEST(EarlyStopping, MaximumWithoutPatienceNeverStops) {
  EarlyStopping watch(Mode::max, std::nullopt);
  watch.observe(1, 0.5);
  for (int step = 2; step < 100; ++step) EXPECT_FALSE(watch.observe(step, 0.4).stop);
  EXPECT_TRUE(watch.observe(100, 0.6).improved);
  EXPECT_EQ(watch.best()->step, 100);
}

TEST(EarlyStopping, WhatIsNotFiniteNeverImproves) {
  EarlyStopping watch(Mode::max, 2);
  EXPECT_FALSE(watch.observe(1, std::numeric_limits<double>::quiet_NaN()).improved);
  EXPECT_FALSE(watch.best().has_value());
  EXPECT_TRUE(watch.observe(2, std::numeric_limits<double>::infinity()).stop);
}

TEST(EarlyStopping, StateGivesBackEveryBit) {
  EarlyStopping watch(Mode::min, 5);
  EXPECT_FALSE(watch.observe(1, std::nan("")).improved);
  watch.observe(2, 0.1 + 0.2);
  watch.observe(3, 7.0);
  Scalars state;
  watch.save_state(state);

  EarlyStopping resumed(Mode::min, 5);
  resumed.observe(99, -1.0);  // is forgotten
  resumed.load_state(state);
  ASSERT_EQ(resumed.history().size(), 3U);
  EXPECT_TRUE(std::isnan(resumed.history()[0].value));
  EXPECT_EQ(resumed.history()[1], (EarlyStopping::Evaluation{2, 0.1 + 0.2}));
  EXPECT_EQ(resumed.best(), watch.best());
  EXPECT_EQ(resumed.waited(), 1);

  EarlyStopping fresh(Mode::min, 5);
  Scalars empty;
  fresh.save_state(empty);
  resumed.load_state(empty);
  EXPECT_TRUE(resumed.history().empty());
  EXPECT_FALSE(resumed.best().has_value());
}

TEST(EarlyStopping, DamagedStateIsRefusedAndChangesNothing) {
  EarlyStopping watch(Mode::min, 5);
  watch.observe(1, 2.0);
  for (const char* text : {"1", "1:", "1:zz", "x:0", "1:0,2:0"}) {
    Scalars state;
    state.values["early_stopping/history"] = std::string(text);
    try {
      watch.load_state(state);
      ADD_FAILURE() << text << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::no_checkpoint) << text;
    }
    EXPECT_EQ(watch.history().size(), 1U);
  }
}

}  // namespace
}  // namespace trireme::guard
