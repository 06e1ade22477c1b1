#include <trireme/debug/sample_ids.h>

#include "unit/debug/training.h"

#include <cmath>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

EvaluationSeen evaluation(std::vector<int64_t> ids) {
  return {.step = 40,
          .loss = 0.5,
          .samples = 8,
          .samples_here = static_cast<int64_t>(ids.size()),
          .batches_here = 2,
          .ids_here = std::move(ids),
          .dataset = 8,
          .seconds = 0.5};
}

TEST(Validation, RecordsAndSumsIds) {
  Training run({}, {});
  run.on(Switch::validation);
  run.tools[0]->evaluated(evaluation({0, 2, 4, 6}));
  const json record = run.notes.records.at(0);
  EXPECT_EQ(record["duplicates_here"], 0);
  EXPECT_EQ(record["batches_here"], 2);
  EXPECT_EQ(record["samples_per_second_here"], 8.0);
  EXPECT_GT(record["rss"].get<int64_t>(), 0);
  const json digest = run.digest();
  EXPECT_EQ(digest["ids"]["count"], 4);
  EXPECT_EQ(digest["ids"]["sum"].get<std::string>().size(), 16U);
  EXPECT_THAT(run.notes.findings, IsEmpty());
  EXPECT_TRUE(run.digest().empty());
}

TEST(Validation, NamesDuplicates) {
  Training run({}, {});
  run.on(Switch::validation);
  run.tools[0]->evaluated(evaluation({5, 2, 5, 6, 2, 5}));
  EXPECT_EQ(run.notes.records.at(0)["duplicates_here"], 3);
  EXPECT_THAT(
      run.notes.findings,
      Contains(
          "step 40: this rank evaluated 3 of its 6 samples more than once, sample 2 among them"));
}

TEST(Validation, TellsOfTooManySamplesOfNoneAndOfALossThatIsNotFinite) {
  Training run({}, {});
  run.on(Switch::validation);
  EvaluationSeen seen = evaluation({});
  seen.samples = 9;
  seen.loss = std::nan("");
  run.tools[0]->evaluated(seen);
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("9 samples of a data set of 8")));
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("this rank had no sample")));
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("is not finite")));
  EXPECT_TRUE(run.notes.records.at(0)["duplicates_here"].is_null());
}

TEST(SampleIds, AddUpOverRanksInAnyOrder) {
  SampleIds all = SampleIds::of({6, 1, 3});
  all += SampleIds::of({0, 5, 2, 4});
  EXPECT_EQ(all, SampleIds::of_all(7));
  EXPECT_FALSE(problem_of(all, 7).has_value());
}

TEST(SampleIds, SeeWhatIsMissingOrTwice) {
  // Two that two ranks have in place of others: counts alone would not show it.
  SampleIds all = SampleIds::of({0, 1, 2, 3});
  all += SampleIds::of({2, 3, 6, 7});
  EXPECT_EQ(problem_of(all, 8),
            "8 samples were seen, as many as there are, but not each of them once");
  EXPECT_EQ(problem_of(SampleIds::of({0, 1}), 3), "2 samples were seen of 3");
  EXPECT_EQ(problem_of(SampleIds::of({0, 1, 1}), 2),
            "3 samples were seen of 2: some more than once");
  // A pair cancels in the exclusive or, not in the sum.
  EXPECT_TRUE(problem_of(SampleIds::of({0, 1, 1}), 3).has_value());
}

}  // namespace
}  // namespace trireme::debug
