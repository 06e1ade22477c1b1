#include "unit/debug/training.h"

#include <cmath>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(EarlyStopping, GivesItsReasons) {
  Training run({}, {});
  run.on(Switch::early_stopping);
  Tool& tool = *run.tools[0];
  StoppingSeen seen{.step = 10,
                    .metric = "loss",
                    .value = 1.5,
                    .best = 1.5,
                    .best_step = 10,
                    .patience = 2,
                    .improved = true};
  tool.stopping(seen);
  EXPECT_EQ(run.notes.records.back()["reason"], "loss 1.5 is the best so far");
  seen = {.step = 20,
          .metric = "loss",
          .value = 1.6,
          .best = 1.5,
          .best_step = 10,
          .waited = 1,
          .patience = 2};
  tool.stopping(seen);
  EXPECT_EQ(run.notes.records.back()["reason"],
            "loss 1.6 did not improve on 1.5 of step 10; 1 of 2 evaluations waited");
  EXPECT_EQ(run.notes.records.back()["decision"], "go on");
  EXPECT_THAT(run.notes.findings, IsEmpty());
  seen.step = 30;
  seen.waited = 2;
  seen.stop = true;
  tool.stopping(seen);
  EXPECT_EQ(run.notes.records.back()["decision"], "stop");
  EXPECT_THAT(run.notes.findings,
              Contains("step 30: training stops: loss 1.6 did not improve on 1.5 of step 10, for 2 "
                       "evaluations in a row, which is the patience"));
  EXPECT_EQ(run.digest()["decision"], "stop");
  EXPECT_TRUE(run.digest().empty());
}

TEST(EarlyStopping, WithoutPatienceOrWithANumberThatIsNone) {
  Training run({}, {});
  run.on(Switch::early_stopping);
  run.tools[0]->stopping(
      {.step = 20, .metric = "loss", .value = 1.6, .best = 1.5, .best_step = 10, .waited = 7});
  EXPECT_THAT(run.notes.records.back()["reason"].get<std::string>(), HasSubstr("it never stops"));
  EXPECT_TRUE(run.notes.records.back()["patience"].is_null());
  run.tools[0]->stopping({.step = 30,
                          .metric = "loss",
                          .value = std::nan(""),
                          .best = 1.5,
                          .best_step = 10,
                          .waited = 8});
  EXPECT_THAT(run.notes.findings, Contains("step 30: loss is not finite"));
}

class LrScheduling : public testing::Test {
 protected:
  LrScheduling() {
    run.subject.facts = {{"schedule", "cosine"}};
    run.on(Switch::lr_scheduling);
  }
  void step(double lr) { run.tools[0]->decided({.step = ++steps, .lr = lr}); }
  Training run{{}, {}};
  int64_t steps = 0;
};

TEST_F(LrScheduling, RecordsEachStep) {
  for (const double lr : {0.0, 0.1, 0.2, 0.2, 0.15}) step(lr);
  const std::vector<json> all = run.notes.with("lr");
  ASSERT_EQ(all.size(), 5U);
  EXPECT_EQ(all[0]["direction"], "first");
  EXPECT_EQ(all[1]["direction"], "up");
  EXPECT_EQ(all[3]["direction"], "same");
  EXPECT_EQ(all[4]["direction"], "down");
  EXPECT_NEAR(all[4]["change"].get<double>(), -0.05, 1e-12);
  EXPECT_EQ(all[4]["schedule"], "cosine");
  EXPECT_THAT(run.notes.findings, IsEmpty());
  EXPECT_EQ(all[4]["decided_step"], 5);
  run.tools[0]->decided({.step = 6, .lr = 0.15, .left_out = true});
  EXPECT_EQ(run.notes.records.back()["left_out"], true);
  const json digest = run.digest();
  EXPECT_EQ(digest["lowest"], 0.0);
  EXPECT_EQ(digest["highest"], 0.2);
  EXPECT_EQ(digest["left_out"], 1);
  EXPECT_TRUE(run.digest().empty());
}

TEST_F(LrScheduling, NeedsNothingOfTheStepItself) {
  run.tools[0]->begin_step({7, true});
  run.tools[0]->updated({0.5});
  run.tools[0]->end_step();
  EXPECT_THAT(run.notes.with("lr"), IsEmpty());
  run.tools[0]->decided({.step = 5, .lr = 0.4});
  EXPECT_EQ(run.digest()["step"], 5);
}

TEST_F(LrScheduling, TellsOfJumpsZerosAndWhatIsNone) {
  step(0.1);
  step(0.005);
  EXPECT_THAT(run.notes.findings, Contains("step 2: the learning rate jumps from 0.1 to 0.005"));
  for (int i = 0; i < 3; ++i) step(0);
  EXPECT_THAT(run.notes.findings,
              Contains("step 5: the learning rate has been 0 for 3 steps, while training goes on"));
  step(std::nan(""));
  EXPECT_THAT(run.notes.findings, Contains("step 6: the learning rate is nan"));
}

}  // namespace
}  // namespace trireme::debug
