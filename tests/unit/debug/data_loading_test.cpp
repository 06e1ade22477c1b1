#include "unit/debug/training.h"

#include <cmath>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class DataLoading : public testing::Test {
 protected:
  DataLoading() {
    run.subject.facts = {{"dataset", "digits"}, {"split", "0.9 / 0.1"}};
    run.on(Switch::data_loading);
  }
  core::Batch batch(const std::vector<int64_t>& samples) {
    core::Batch made;
    const auto n = static_cast<int64_t>(samples.size());
    made.fields = {{"image", at::arange(n * 2, at::kFloat).reshape({n, 2})},
                   {"label", at::ones({n}, at::kLong)}};
    made.samples = samples;
    return made;
  }
  void step(const std::vector<core::Batch>& batches, double wait = 0, bool looks = true) {
    tool().begin_step({++steps, looks});
    tool().batch({.micro_batches = &batches,
                  .epoch = 2,
                  .position = 100,
                  .global_count = 8,
                  .wait_seconds = wait,
                  .load_seconds = 2 * wait,
                  .ready = 3});
    tool().end_step();
  }
  Tool& tool() { return *run.tools[0]; }
  Training run{{}, {}};
  int64_t steps = 0;
};

TEST_F(DataLoading, RecordsBatchesAndFacts) {
  EXPECT_EQ(run.notes.records.at(0)["facts"]["split"], "0.9 / 0.1");
  core::Batch one = batch({5, 6, 7, 8});
  one.fields[1].values[0] = 9;
  step({one, batch({9, 10})}, 0.25);
  const json record = run.notes.records.at(1);
  EXPECT_EQ(record["samples_here"], 6);
  EXPECT_EQ(record["micro_batches"], 2);
  EXPECT_EQ(record["ready"], 3);
  EXPECT_EQ(record["epoch"], 2);
  EXPECT_EQ(record["fields"][0]["name"], "image");
  EXPECT_EQ(record["fields"][0]["max"], 7.0);
  EXPECT_EQ(record["fields"][1]["distinct"], 2);
  EXPECT_EQ(record["fields"][1]["most_common"], (json{1, 0.75}));
  const json digest = run.digest();
  EXPECT_EQ(digest["samples_here"], 6);
  EXPECT_EQ(digest["wait_seconds"], 0.25);
  EXPECT_EQ(digest["values"]["label"]["max"], 9.0);
  EXPECT_THAT(run.notes.findings, IsEmpty());
  EXPECT_TRUE(run.digest().empty());
}

TEST_F(DataLoading, ValuesAreReadOnlyWhereItLooks) {
  step({batch({1})}, 0, false);
  EXPECT_FALSE(run.notes.records.at(1)["fields"][0].contains("max"));
}

TEST_F(DataLoading, TellsOfSteadyWaiting) {
  for (int i = 0; i < 12; ++i) step({batch({i})}, 0.5);
  ASSERT_EQ(run.notes.findings.size(), 1U);
  EXPECT_THAT(
      run.notes.findings[0],
      HasSubstr("the last 10 steps waited 100 % of their time for data, on average 500.0 ms"));
  EXPECT_GT(run.digest()["wait_share"].get<double>(), 0.9);
}

TEST_F(DataLoading, OneLongWaitIsNothing) {
  for (int i = 0; i < 30; ++i) step({batch({i})}, i == 5 ? 5.0 : 0.0);
  EXPECT_THAT(run.notes.findings, IsEmpty());
}

TEST_F(DataLoading, TellsOfSamplesThatComeTwiceAndOfNone) {
  step({batch({3, 4}), batch({5, 3})});
  EXPECT_THAT(run.notes.findings,
              Contains("step 1: sample 3 is in this rank's batch more than once"));
  step({batch({})});
  EXPECT_THAT(run.notes.findings, Contains("step 2: this rank has no sample of a batch of 8"));
}

TEST_F(DataLoading, NamesTheSamplesOfAFieldThatIsNotFinite) {
  core::Batch one = batch({41, 42});
  one.fields[0].values[1][0] = std::nan("");
  step({one});
  EXPECT_THAT(
      run.notes.findings,
      Contains(HasSubstr(
          "the field 'image' of this rank's batch has 1 NaN and 0 Inf of 4 (samples 41, 42)")));
}

}  // namespace
}  // namespace trireme::debug
