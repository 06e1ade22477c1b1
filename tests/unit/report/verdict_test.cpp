#include <trireme/report/verdict.h>

#include <cmath>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

/// A row whose step is the sum of the phases given.
RankRow row(std::initializer_list<std::pair<Phase, double>> phases) {
  RankRow result{};
  for (const auto& [phase, seconds] : phases) {
    result[index_of(phase)] = seconds;
    result[index_of(Item::step_seconds)] += seconds;
  }
  return result;
}

const std::vector<std::string> hosts{"n1", "n1", "n2", "n2"};

double evidence(const Verdict& verdict, const std::string& name) {
  for (const auto& [key, value] : verdict.evidence)
    if (key == name) return value;
  ADD_FAILURE() << "no evidence " << name;
  return 0;
}

TEST(Verdict, ComputeBound) {
  const RankRow even = row({{Phase::forward, 0.3},
                            {Phase::backward, 0.5},
                            {Phase::optimizer, 0.1},
                            {Phase::comm_exposed, 0.05},
                            {Phase::data, 0.05}});
  const Verdict verdict = judge(std::vector{even, even}, hosts);
  EXPECT_EQ(verdict.kind, "compute-bound");
  EXPECT_EQ(
      verdict.text,
      "COMPUTE-BOUND: 90 % of the step computes (forward 30 %, backward 50 %, optimizer 10 %)");
  EXPECT_EQ(verdict.rank, -1);
  EXPECT_NEAR(evidence(verdict, "backward_share"), 0.5, 1e-12);
}

TEST(Verdict, DivergingIsALossFarAboveWhereItBeganHoweverMuchItJumps) {
  Circumstances known;
  int64_t step = 0;
  for (const double loss : {8.8, 34.0, 58.0, 144.0, 233.0, 184.0, 207.0, 332.0, 145.0, 70.0, 138.0, 78.0, 181.0, 128.0, 157.0})
    known.losses.push_back({.step = step += 10, .mean = loss, .count = 1});
  const RankRow any = row({{Phase::forward, 1.0}});
  EXPECT_EQ(judge(std::vector{any, any}, hosts, known).kind, "diverging");
  known.losses.back().mean = 9.0;
  EXPECT_EQ(judge(std::vector{any, any}, hosts, known).kind, "compute-bound") << "it is back";
}

TEST(Verdict, InputBoundWhereAllLoadersAreAsSlowAndOneRanksBatchesComeLast) {
  std::vector<RankRow> rows{row({{Phase::forward, 0.4}, {Phase::comm_exposed, 0.6}}),
                            row({{Phase::data, 0.6}, {Phase::forward, 0.4}})};
  rows[0][index_of(Item::load_seconds)] = 1.00;
  rows[1][index_of(Item::load_seconds)] = 1.02;
  const Verdict verdict = judge(rows, hosts);
  EXPECT_EQ(verdict.kind, "input-bound");
  EXPECT_EQ(verdict.text,
            "INPUT-BOUND: 60 % of the step waits for data; most on rank 1 on n1: 60 %");
  rows[1][index_of(Item::load_seconds)] = 1.3;
  EXPECT_EQ(judge(rows, hosts).kind, "straggler") << "a loader that takes longer is that rank's own";
}

TEST(Verdict, InputBound) {
  const Verdict verdict = judge(std::vector{row({{Phase::data, 0.58}, {Phase::forward, 0.42}}),
                                            row({{Phase::data, 0.60}, {Phase::forward, 0.40}})},
                                hosts);
  EXPECT_EQ(verdict.kind, "input-bound");
  EXPECT_EQ(verdict.text,
            "INPUT-BOUND: 59 % of the step waits for data; most on rank 1 on n1: 60 %");
  EXPECT_NEAR(evidence(verdict, "data_share"), 0.59, 1e-12);
}

TEST(Verdict, CommunicationBoundWhenAllWaitAlike) {
  const RankRow even = row({{Phase::forward, 0.6}, {Phase::comm_exposed, 0.4}});
  const Verdict verdict = judge(std::vector{even, even, even, even}, hosts);
  EXPECT_EQ(verdict.kind, "communication-bound");
  EXPECT_EQ(
      verdict.text,
      "COMMUNICATION-BOUND: 40 % of the step waits for communication; most on rank 0 on n1: 40 %");
}

TEST(Verdict, AStragglerIsNamedInsteadOfTheWaitingItCauses) {
  const RankRow usual =
      row({{Phase::forward, 0.5}, {Phase::comm_exposed, 0.3}, {Phase::data, 0.02}});
  const RankRow slow =
      row({{Phase::forward, 0.5}, {Phase::comm_exposed, 0.01}, {Phase::data, 0.31}});
  const Verdict verdict = judge(std::vector{usual, usual, slow, usual}, hosts);
  EXPECT_EQ(verdict.kind, "straggler");
  EXPECT_EQ(verdict.rank, 2);
  EXPECT_EQ(verdict.text,
            "STRAGGLER: rank 2 on n2 works 56 % longer than the others, mostly in data (+0.29 s a "
            "step); they wait 37 % "
            "of the step");
  EXPECT_NEAR(evidence(verdict, "data_excess_seconds"), 0.29, 1e-12);
}

TEST(Verdict, ASlowRankThatNobodyWaitsForIsNone) {
  const RankRow usual = row({{Phase::forward, 0.5}, {Phase::comm_exposed, 0.01}});
  const RankRow slow = row({{Phase::forward, 0.7}});
  EXPECT_EQ(judge(std::vector{usual, slow}, hosts).kind, "compute-bound");
}

TEST(Verdict, CheckpointsAndOverhead) {
  const Verdict saves =
      judge(std::vector{row({{Phase::forward, 0.8}, {Phase::checkpoint, 0.2}})}, {});
  EXPECT_EQ(saves.text, "CHECKPOINT-BOUND: 20 % of the step waits for checkpoints");
  EXPECT_EQ(saves.rank, -1);
  const Verdict rest = judge(std::vector{row({{Phase::forward, 0.5}, {Phase::other, 0.5}})}, {});
  EXPECT_EQ(rest.kind, "overhead-bound");
}

TEST(Verdict, TheLargestShareDecides) {
  const RankRow both =
      row({{Phase::data, 0.3}, {Phase::comm_exposed, 0.35}, {Phase::forward, 0.35}});
  EXPECT_EQ(judge(std::vector{both, both}, hosts).kind, "communication-bound");
}

TEST(Verdict, UnknownHostsAndNoSteps) {
  EXPECT_EQ(judge({}, {}).kind, "unknown");
  EXPECT_EQ(judge(std::vector{RankRow{}}, hosts).kind, "unknown");
  const RankRow waits = row({{Phase::data, 1}});
  EXPECT_EQ(judge(std::vector{waits, waits}, {}).text,
            "INPUT-BOUND: 100 % of the step waits for data; most on rank 0: 100 %");
}

bool advises(const Verdict& verdict, const std::string& words) {
  for (const std::string& sentence : verdict.advice)
    if (sentence.find(words) != std::string::npos) return true;
  for (const std::string& sentence : verdict.advice) ADD_FAILURE() << sentence;
  return false;
}

TEST(Advice, CountsTheWorkersThatWouldHideTheLoading) {
  RankRow waits = row({{Phase::data, 0.6}, {Phase::forward, 0.4}});
  waits[index_of(Item::load_seconds)] = 0.9;
  const Verdict verdict =
      judge(std::vector{waits, waits, waits, waits}, hosts, {.data_workers = 1});
  EXPECT_EQ(verdict.kind, "input-bound");
  EXPECT_TRUE(advises(verdict,
                      "loading takes 0.9 s of worker time a step, so 3 workers instead of "
                      "1 would hide it behind the 0.4 s"));
}

TEST(Advice, NamesTheRanksThatWaitForData) {
  const RankRow fine = row({{Phase::data, 0.05}, {Phase::forward, 0.5}, {Phase::backward, 0.45}});
  const RankRow waits = row({{Phase::data, 0.64}, {Phase::forward, 0.36}});
  EXPECT_TRUE(advises(judge(std::vector{fine, fine, waits, waits}, hosts),
                      "64 % of the step waits for data on ranks 2 and 3"));
}

TEST(Advice, OnExposedCommunication) {
  RankRow even = row({{Phase::forward, 0.3}, {Phase::backward, 0.3}, {Phase::comm_exposed, 0.4}});
  even[index_of(Item::comm_busy_seconds)] = 0.5;
  even[index_of(Item::comm_hidden_seconds)] = 0.1;
  even[index_of(Item::comm_bytes)] = 1 << 30;
  const Verdict verdict =
      judge(std::vector{even, even}, hosts,
            {.reduce_type = "fp32", .bucket_bytes = 512.0 * (1 << 20), .accumulate = 2});
  EXPECT_EQ(verdict.kind, "communication-bound");
  EXPECT_TRUE(advises(verdict, "1.0 GiB a step travel at 2.0 GiB/s; 20 % of the 0.5 s"));
  EXPECT_TRUE(advises(verdict, "parallel.bucket_mib=128"));
  EXPECT_TRUE(advises(verdict, "precision.reduce=bf16"));
  EXPECT_TRUE(advises(verdict, "train.accumulate=4 instead of 2"));
}

TEST(Advice, OnAStragglerGoesByItsSection) {
  const RankRow usual = row({{Phase::forward, 0.5}, {Phase::comm_exposed, 0.3}});
  const RankRow slow_data = row({{Phase::forward, 0.5}, {Phase::data, 0.3}});
  EXPECT_TRUE(advises(judge(std::vector{usual, usual, slow_data}, hosts), "look at the disk"));
  RankRow hot = row({{Phase::forward, 0.8}});
  hot[index_of(Item::throttled)] = 0.4;
  hot[index_of(Item::celsius)] = 91;
  EXPECT_TRUE(advises(judge(std::vector{usual, usual, hot}, hosts),
                      "clocks are held down in 40 % of the samples, at 91 C"));
}

TEST(Advice, OnCheckpointsAndMemory) {
  RankRow saves = row({{Phase::forward, 0.6}, {Phase::checkpoint, 0.4}});
  saves[index_of(Item::peak)] = 95e9;
  saves[index_of(Item::activations)] = 60e9;
  const Verdict verdict =
      judge(std::vector{saves}, {}, {.checkpoint_async = false, .memory_capacity = 100e9});
  EXPECT_EQ(verdict.kind, "checkpoint-bound");
  EXPECT_TRUE(advises(verdict, "checkpoint.async=true"));
  EXPECT_TRUE(advises(verdict, "(95 %); 55.9 GiB of it are activations: parallel.recompute=unit"));
}

TEST(Verdict, ALeakComesBeforeTimes) {
  const RankRow waits = row({{Phase::data, 0.6}, {Phase::forward, 0.4}});
  const Leak leak{
      .rank = 1, .what = "allocated", .bytes_per_step = 1 << 20, .from_step = 100, .to_step = 600};
  const Verdict verdict = judge(std::vector{waits, waits}, hosts, {.leaks = {leak}});
  EXPECT_EQ(verdict.kind, "leak");
  EXPECT_EQ(verdict.rank, 1);
  EXPECT_EQ(verdict.text,
            "LEAK: memory of tensors of rank 1 on n1 grows by 1 MiB a step since step 100, 500 MiB "
            "so far");
  EXPECT_EQ(evidence(verdict, "bytes_per_step"), 1 << 20);
}

TEST(Verdict, ALossThatRunsAway) {
  const std::vector<RankRow> rows{row({{Phase::forward, 1}})};
  const auto kind_of_run = [&](const std::function<double(double)>& loss) {
    Circumstances known;
    for (int64_t i = 0; i < 100; ++i)
      known.losses.emplace_back().add(10 * i, loss(static_cast<double>(i)));
    return judge(rows, {}, known).kind;
  };
  const auto wobble = [](double i) {
    return 0.1 * std::sin(i * 1.7);
  };
  EXPECT_EQ(kind_of_run([&](double i) { return 2 + 8 * std::exp(-i / 20) + wobble(i); }),
            "compute-bound");
  EXPECT_EQ(kind_of_run([&](double i) { return 2.3 + wobble(i); }), "compute-bound");
  EXPECT_EQ(kind_of_run([&](double i) { return i < 70 ? 10 - i / 10 : 3 + (i - 70) / 3; }),
            "diverging");
  EXPECT_EQ(kind_of_run([&](double i) { return i < 90 ? 2.0 : std::nan(""); }), "diverging");
}

TEST(Verdict, ALossThatIsNotFiniteNowAndThenIsAdviceOnly) {
  const std::vector<RankRow> rows{row({{Phase::forward, 1}})};
  const auto verdict_of = [&](const std::vector<double>& losses) {
    Circumstances known;
    for (size_t i = 0; i < losses.size(); ++i)
      known.losses.emplace_back().add(static_cast<int64_t>(10 * i), losses[i]);
    return judge(rows, {}, known);
  };
  const double nan = std::nan("");
  std::vector<double> losses(40, 2.0);
  losses[7] = losses[39] = nan;
  const Verdict skipped = verdict_of(losses);
  EXPECT_EQ(skipped.kind, "compute-bound");
  EXPECT_TRUE(advises(skipped, "2 of 40 logged losses were not finite, the first at step 70"));
  for (size_t i = 30; i < 36; ++i) losses[i] = nan;
  EXPECT_EQ(verdict_of(losses).kind, "diverging") << "most of the last quarter";
  EXPECT_EQ(verdict_of({2, 2, 2, 2, 2, nan, nan, nan}).kind, "diverging") << "the last windows";
  EXPECT_EQ(verdict_of({2, 2, 2, nan}).kind, "compute-bound");
  EXPECT_EQ(verdict_of({nan}).kind, "diverging");
  const Verdict lost = verdict_of({2, nan, nan, nan});
  EXPECT_EQ(lost.text, "DIVERGING: the loss is not finite, first at step 10");
  EXPECT_EQ(evidence(lost, "nonfinite_losses"), 3);
}

/// Of rows with so many steps.
std::vector<RankRow> over(double steps, std::vector<RankRow> rows) {
  for (RankRow& one : rows) one[index_of(Item::steps)] = steps;
  return rows;
}

TEST(Verdict, InALongRunOnlyTheDetectorNamesStragglers) {
  const RankRow usual = row({{Phase::forward, 0.5}, {Phase::comm_exposed, 0.3}});
  const RankRow hiccup = row({{Phase::forward, 0.8}});
  EXPECT_EQ(judge(over(49, {usual, usual, hiccup}), hosts).kind, "straggler");
  EXPECT_NE(judge(over(50, {usual, usual, hiccup}), hosts).kind, "straggler");
  const Straggler named{.rank = 1,
                        .section = Phase::backward,
                        .excess = 0.25,
                        .seconds = 0.1,
                        .from_step = 11,
                        .to_step = 1000};
  const Verdict verdict =
      judge(over(1000, {usual, usual, hiccup}), hosts, {.stragglers = {named}});
  EXPECT_EQ(verdict.text,
            "STRAGGLER: rank 1 on n1 works 25 % longer than the others, mostly in backward (+0.1 s "
            "a step, steps 11 to 1000); they wait 19 % of the step");
  EXPECT_EQ(verdict.rank, 1);
  EXPECT_NEAR(evidence(verdict, "backward_excess_seconds"), 0.1, 1e-12);
  for (const std::string& sentence : verdict.advice)
    EXPECT_EQ(sentence.find("worked 25 %"), std::string::npos) << "told twice";
}

TEST(Verdict, AStragglerThatCostNextToNothingIsAdviceOnly) {
  const RankRow waits = row({{Phase::data, 0.6}, {Phase::forward, 0.4}});
  const Straggler brief{.rank = 0,
                        .section = Phase::forward,
                        .excess = 0.3,
                        .seconds = 0.2,
                        .from_step = 101,
                        .to_step = 150};
  const Verdict verdict = judge(over(10000, {waits, waits}), hosts, {.stragglers = {brief}});
  EXPECT_EQ(verdict.kind, "input-bound");
  EXPECT_TRUE(advises(verdict, "rank 0 on n1 worked 30 % longer than the others from step 101"));
}

TEST(Verdict, AHiccupAtTheStartOfAShortRunIsNoStraggler) {
  const RankRow usual = row({{Phase::forward, 0.5}, {Phase::comm_exposed, 0.3}});
  const RankRow hiccup = row({{Phase::forward, 0.8}});
  EXPECT_NE(judge(over(20, {usual, hiccup}), hosts, {.working_seconds = {0.5, 0.51}}).kind,
            "straggler");
  EXPECT_EQ(judge(over(20, {usual, hiccup}), hosts, {.working_seconds = {0.5, 0.7}}).kind,
            "straggler");
  const RankRow slower = row({{Phase::forward, 0.58}, {Phase::comm_exposed, 0.22}});
  EXPECT_NE(judge(over(20, {usual, slower}), hosts).kind, "straggler") << "16 % only";
}

TEST(Slowest, IsMeasuredAgainstTheMedianOfTheOthers) {
  const auto works = [](double seconds) {
    return row({{Phase::forward, seconds}, {Phase::comm_exposed, 9 - seconds}});
  };
  const Slowest slowest = slowest_of(std::vector{works(1), works(1.5), works(1), works(1.1)});
  EXPECT_EQ(slowest.rank, 1);
  EXPECT_NEAR(slowest.excess, 0.5, 1e-12);
  EXPECT_EQ(slowest_of(std::vector{works(1)}).rank, -1);
  EXPECT_EQ(slowest_of({}).rank, -1);
}

}  // namespace
}  // namespace trireme::report
