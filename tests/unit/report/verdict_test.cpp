#include <trireme/report/verdict.h>

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
