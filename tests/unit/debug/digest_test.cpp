#include <trireme/debug/sample_ids.h>

#include "debug/digest.h"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace trireme::debug {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What a rank says that evaluated these samples of 6.
std::string evaluated(const std::vector<int64_t>& ids) {
  nlohmann::json digest{{"dataset", 6}, {"samples_here", ids.size()}};
  if (!ids.empty()) {
    const SampleIds seen = SampleIds::of(ids);
    digest["ids"] = {{"count", seen.count},
                     {"sum", fmt::format("{:016x}", seen.sum)},
                     {"exclusive_or", fmt::format("{:016x}", seen.exclusive_or)}};
  }
  return to_text(RankDigest{{Switch::validation, {.digest = digest}}});
}

std::vector<std::string> console(const std::vector<std::string>& by_rank) {
  const std::vector<std::string> hosts(by_rank.size(), "n1");
  return digest_summary(by_rank, 10, 1, hosts).console;
}

TEST(DigestSummary, SaysNothingOfAnEvaluationThatSawEachSampleOnce) {
  EXPECT_THAT(console({evaluated({0, 2, 4}), evaluated({1, 3, 5})}), IsEmpty());
  EXPECT_THAT(console({evaluated({5, 4, 3, 2, 1, 0}), evaluated({})}), IsEmpty());
}

TEST(DigestSummary, FindsWhatNoRankSeesAlone) {
  EXPECT_THAT(console({evaluated({0, 2, 4}), evaluated({1, 3, 4})}),
              ElementsAre(HasSubstr("validation: all ranks together")));
  EXPECT_THAT(console({evaluated({0, 1, 2}), evaluated({3, 4})}),
              ElementsAre(HasSubstr("validation: all ranks together")));
  const DigestSummary summary =
      digest_summary(std::vector{evaluated({0, 0}), evaluated({1})}, 10, 1, {});
  const auto line = nlohmann::json::parse(summary.lines.at(0));
  EXPECT_TRUE(line["findings"][0]["rank"].is_null());
}

TEST(DigestSummary, LeavesOutFailuresOfRank0WhichHasSaidSo) {
  const std::string failed = to_text(RankDigest{{Switch::gradient_norms, {.failed = "odd"}}});
  EXPECT_THAT(console({failed, failed}),
              ElementsAre("gradient_norms: rank 1 on n1: failed and is off there: odd"));
  const DigestSummary summary = digest_summary(std::vector{failed}, 10, 1, {});
  EXPECT_THAT(summary.console, IsEmpty());
  EXPECT_EQ(nlohmann::json::parse(summary.lines.at(0))["failed"][0]["text"], "odd");
}

TEST(DigestSummary, LeavesOutFiguresOfParametersThatTheFirstRankHasToo) {
  const auto told = [](double norm) {
    return to_text(RankDigest{{Switch::gradient_norms, {.digest = {{"norm", 5}, {"norms", {{"a", norm}}}}}}});
  };
  const DigestSummary summary = digest_summary(std::vector{std::string("{}"), told(1), told(1), told(2)}, 10, 1, {});
  const auto ranks = nlohmann::json::parse(summary.lines.at(0)).at("ranks");
  EXPECT_TRUE(ranks.at("1").contains("norms"));
  EXPECT_FALSE(ranks.at("2").contains("norms"));
  EXPECT_EQ(ranks.at("2").at("norm"), 5);
  EXPECT_EQ(ranks.at("3").at("norms").at("a"), 2);
}

TEST(DigestSummary, DoesNotJudgeAnEvaluationThatOnlySomeRanksTellOf) {
  EXPECT_THAT(console({evaluated({0, 2, 4}), "{}"}), IsEmpty());
}

}  // namespace
}  // namespace trireme::debug
