#include <trireme/core/error.h>
#include <trireme/debug/debugger.h>
#include <trireme/debug/run_status.h>

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::debug {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(RunStatus, ReadsWhatADebuggerSays) {
  testing::internal::CaptureStderr();
  Debugger::Settings settings;
  settings.subject.rank = 1;
  settings.subject.ranks = 4;
  Debugger debugger(std::move(settings));
  (void)debugger.apply({.switches = {Switch::validation},
                        .ranks = {0, 3},
                        .steps = 7,
                        .every_steps = 2,
                        .origin = "x"},
                       5);
  (void)debugger.apply({.switches = {Switch::lr_scheduling}, .ranks = {2}}, 5);
  debugger.heard(std::vector<std::string>{"{}", "{}", "{}",
                                          R"({"validation":{"failed":"odd","since_step":5}})"});
  debugger.heard(std::vector<std::string>{
      R"({"autograd_profiler":{"failed":"full","since_step":2}})", "{}", "{}",
      R"({"autograd_profiler":{"failed":"an older one","since_step":1}})"});
  const RunStatus status = parse_status(debugger.status_json(6));
  (void)testing::internal::GetCapturedStderr();
  EXPECT_EQ(status.step, 6);
  ASSERT_EQ(status.switches.size(), 2U);
  const RunStatus::On* const on = status.find("validation");
  ASSERT_NE(on, nullptr);
  EXPECT_THAT(on->ranks, ElementsAre(0, 3));
  EXPECT_EQ(on->since_step, 5);
  EXPECT_EQ(on->until_step, 12);
  EXPECT_EQ(on->every_steps, 2);
  EXPECT_EQ(on->origin, "x");
  EXPECT_EQ(on->failed_ranks.at("3"), "odd");
  EXPECT_EQ(status.find("lr_scheduling")->until_step, std::nullopt);
  EXPECT_EQ(status.find("gradient_norms"), nullptr);
  ASSERT_EQ(status.failed.size(), 1U);
  EXPECT_EQ(status.failed[0].name, "autograd_profiler");
  EXPECT_EQ(status.failed[0].since_step, 2);
  EXPECT_THAT(status.failed[0].ranks, ElementsAre(testing::Pair("0", "full")));
}

TEST(RunStatus, WhatIsMissingIsNotThere) {
  const RunStatus empty = parse_status("{}");
  EXPECT_THAT(empty.switches, IsEmpty());
  EXPECT_FALSE(empty.running);
  const RunStatus bare =
      parse_status(R"({"schema":1,"running":true,"switches":{"validation":{}}})");
  EXPECT_TRUE(bare.running);
  ASSERT_EQ(bare.switches.size(), 1U);
  EXPECT_THAT(bare.switches[0].ranks, IsEmpty());
  EXPECT_EQ(bare.switches[0].until_step, std::nullopt);
}

TEST(RunStatus, RefusesOtherSchemasAndDamage) {
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {R"({"schema":2})", "has schema 2, not 1"},
           {R"({"schema":"x"})", "cannot be read"},
           {R"({"switches":{"validation":7}})", "cannot be read"},
           {R"({"switches":{"validation":{"since_step":"x"}}})", "cannot be read"},
           {"7", "cannot be read"},
           {"{", "cannot be read"}}) {
    try {
      (void)parse_status(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::environment);
      EXPECT_THAT(error.message(), HasSubstr(message)) << text;
    }
  }
}

TEST(RunStatus, CountsForALivingRunOfItsAttemptOnly) {
  RunStatus status{.attempt = 3, .running = true, .switches = {}};
  EXPECT_EQ(why_nothing_is_on(status, 3), "");
  EXPECT_EQ(why_nothing_is_on(status, 2), "");  // its first record is still to come
  EXPECT_THAT(why_nothing_is_on(status, 4), HasSubstr("of attempt 3, while attempt 4 runs"));
  status.running = false;
  EXPECT_THAT(why_nothing_is_on(status, 3), HasSubstr("has ended"));
}

}  // namespace
}  // namespace trireme::debug
