#include <trireme/config/load.h>
#include <trireme/debug/config.h>

#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

DebugConfig read(const std::string& yaml) {
  return config::load_text<DebugConfig>(yaml, "run.yaml").value;
}

std::string refusal(const std::string& yaml) {
  try {
    (void)read(yaml);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    return error.what();
  }
  return "accepted";
}

TEST(DebugConfig, IsOffUnlessAsked) {
  EXPECT_THAT(requests_of(read("{}")), IsEmpty());
  EXPECT_NO_THROW(check_start(read("{}"), 1, true));
}

TEST(DebugConfig, EnablesFromTheStart) {
  EXPECT_THAT(requests_of(read(
                  "enable: [gradient_norms, lr_scheduling]\nranks: [3, 1, 3]\nevery_steps: 5")),
              ElementsAre(Request{.switches = {Switch::gradient_norms, Switch::lr_scheduling},
                                  .ranks = {1, 3},
                                  .every_steps = 5,
                                  .origin = "configuration"}));
  const auto all = requests_of(read("enable: [forward_pass]"));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_THAT(all[0].ranks, IsEmpty());
  EXPECT_EQ(all[0].every_steps, 10);
}

TEST(DebugConfig, ReadsRules) {
  const DebugConfig config = read(
      "rules:\n"
      "  - when: grad_norm > 10 or loss not finite\n"
      "    for: 20\n"
      "    enable: [gradient_norms]\n"
      "    ranks: [0]\n"
      "  - {when: loss > 2 * mean(loss), enable: memory_usage}\n");
  ASSERT_EQ(config.rules.size(), 2U);
  EXPECT_EQ(config.rules[0].steps, 20);
  EXPECT_EQ(config.rules[0].ranks, std::vector<int64_t>{0});
  EXPECT_EQ(config.rules[1].steps, 10);
  EXPECT_THAT(config.rules[1].enable, ElementsAre("memory_usage"));
}

TEST(DebugConfig, NamesWhatIsWrongAndWhere) {
  EXPECT_THAT(refusal("enable: [gradient_norm]"), HasSubstr("run.yaml:1:10"));
  EXPECT_THAT(refusal("enable: [gradient_norm]"), HasSubstr("did you mean 'gradient_norms'?"));
  EXPECT_THAT(refusal("ranks: [-1]"), HasSubstr("-1 is out of range"));
  EXPECT_THAT(refusal("every_steps: 0"), HasSubstr("0 is out of range"));
  const std::string bad = refusal("rules:\n  - {when: loss >> 2, enable: [forward_pass]}");
  EXPECT_THAT(bad, HasSubstr("run.yaml:2:"));
  EXPECT_THAT(bad, HasSubstr("rules[0].when: column 7: a name or a number is expected, not '>'"));
  EXPECT_THAT(refusal("rules:\n  - {when: loss > 2}"), HasSubstr("the rule turns nothing on"));
  EXPECT_THAT(refusal("rules:\n  - {enable: [forward_pass]}"),
              HasSubstr("rules[0].when: column 1"));
  EXPECT_THAT(refusal("rules:\n  - {when: loss > 2, enable: [forward_pass], for: 0}"),
              HasSubstr("out of range"));
  const std::string profiled = refusal(
      "rules:\n  - {when: loss > 2, enable: [memory_usage, autograd_profiler], for: 10001}");
  EXPECT_THAT(profiled, HasSubstr("rules[0].for: a profiler keeps in memory what it records"));
  EXPECT_THAT(profiled, HasSubstr("give at most 10000 steps"));
  EXPECT_EQ(refusal("rules:\n  - {when: loss > 2, enable: [memory_usage], for: 10001}"),
            "accepted");
  EXPECT_THAT(
      refusal("rules:\n  - {when: loss > 2, enables: [forward_pass], enable: [forward_pass]}"),
      HasSubstr("enables"));
}

TEST(DebugConfig, NothingOfItRefusesAResume) {
  const auto resolved = config::describe<DebugConfig>();
  for (const config::Declaration& key : resolved.declarations)
    EXPECT_FALSE(key.identity) << key.path;
  EXPECT_THAT(config::explain(resolved, "rules"), HasSubstr("when"));
}

TEST(DebugConfig, IsCheckedAgainstTheRun) {
  const auto refused = [](const DebugConfig& config, int ranks, bool production) -> std::string {
    try {
      check_start(config, ranks, production);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::configuration);
      return error.what();
    }
    return "accepted";
  };
  const DebugConfig on = read("enable: [forward_pass]\nranks: [3]");
  const DebugConfig rule = read("rules: [{when: loss > 2, enable: [forward_pass], ranks: [3]}]");
  EXPECT_EQ(refused(on, 4, false), "accepted");
  EXPECT_EQ(refused(rule, 4, false), "accepted");
  EXPECT_THAT(refused(on, 3, false), HasSubstr("debug.ranks: there is no rank 3"));
  EXPECT_THAT(refused(rule, 3, false), HasSubstr("debug.rules[0].ranks: there is no rank 3"));
  EXPECT_THAT(refused(on, 4, true),
              HasSubstr("debug.enable is set, and run.profile is production"));
  EXPECT_THAT(refused(rule, 4, true), HasSubstr("debug.rules is set"));
}

}  // namespace
}  // namespace trireme::debug
