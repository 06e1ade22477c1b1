#include <trireme/debug/rules.h>

#include "debug/expression.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Figures = std::vector<std::pair<std::string, double>>;

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

bool holds(const std::string& text, const Figures& figures = {}) {
  return Expression::parse(text).holds([&](Expression::Reading reading, std::string_view name) {
    for (const auto& [known, value] : figures)
      if (known == name) return reading == Expression::Reading::now ? value : 100 * value;
    ADD_FAILURE() << name;
    return 0.0;
  });
}

std::string problem(const std::string& text) {
  const std::optional<Error> error = condition_problem(text);
  if (!error) return "none";
  EXPECT_EQ(error->kind(), ErrorKind::configuration);
  EXPECT_FALSE(error->hint().empty());
  return error->message();
}

TEST(Condition, ComputesAsInSchool) {
  for (const char* text :
       {"1 + 2 * 3 == 7", "(1 + 2) * 3 == 9", "10 - 2 - 3 == 5", "24 / 4 / 2 == 3", "-2 * 3 == -6",
        "2 - -3 == 5", "--2 == 2", "2 * -3 == -6", "1e-3 == 0.001", ".5 == 0.5", "1 - 2 * 3 < 0",
        "1+2*3==7", "((((1)))) == 1", "-(1 + 2) == -3", "1. == 1"})
    EXPECT_TRUE(holds(text)) << text;
}

TEST(Condition, Compares) {
  for (const char* text : {"1 < 2", "2 <= 2", "3 > 2", "2 >= 2", "2 == 2", "1 != 2"})
    EXPECT_TRUE(holds(text)) << text;
  for (const char* text : {"2 < 2", "3 <= 2", "2 > 2", "1 >= 2", "1 == 2", "2 != 2"})
    EXPECT_FALSE(holds(text)) << text;
}

TEST(Condition, BindsNotThenAndThenOr) {
  for (const char* text : {"1 > 2 and 1 > 2 or 1 < 2", "1 < 2 or 1 < 2 and 1 > 2",
                           "not 1 > 2 and 1 < 2", "not (1 > 2 or 1 > 3)", "not not 1 < 2",
                           "not 1 > 2 or 1 > 2", "1 < 2 and (1 > 2 or 2 > 1)"})
    EXPECT_TRUE(holds(text)) << text;
  for (const char* text :
       {"(1 < 2 or 1 < 2) and 1 > 2", "not (1 < 2 or 1 > 2)", "not 1 < 2 and 1 < 2"})
    EXPECT_FALSE(holds(text)) << text;
}

TEST(Condition, TellsWhatIsFinite) {
  for (const double value : {nan, inf, -inf}) {
    const Figures figures{{"loss", value}, {"grad_norm", 1.0}};
    EXPECT_TRUE(holds("loss not finite", figures));
    EXPECT_TRUE(holds("loss is not finite", figures));
    EXPECT_FALSE(holds("loss is finite", figures));
    EXPECT_TRUE(holds("grad_norm > 10 or loss not finite", figures));
    EXPECT_TRUE(holds("loss + 1 not finite", figures));
    EXPECT_TRUE(holds("not loss is finite", figures));
    EXPECT_FALSE(holds("grad_norm not finite or loss is finite", figures));
  }
  EXPECT_TRUE(holds("(loss - 3) is finite", {{"loss", 1.0}}));
  EXPECT_TRUE(holds("1 / 0 not finite"));
}

TEST(Condition, ComparisonsWithNanAreFalse) {
  for (const char* sign : {"<", "<=", ">", ">=", "==", "!="}) {
    EXPECT_FALSE(holds(std::string("x ") + sign + " 1", {{"x", nan}})) << sign;
    EXPECT_FALSE(holds(std::string("x ") + sign + " x", {{"x", nan}})) << sign;
  }
  EXPECT_TRUE(holds("not x > 1", {{"x", nan}}));
}

TEST(Condition, ReadsThePast) {
  const Figures figures{{"loss", 2.0}};
  EXPECT_TRUE(holds("mean(loss) == 200 and last( loss ) == 200 and loss == 2", figures));
  EXPECT_TRUE(holds("mean == 3 and last == 4", {{"mean", 3.0}, {"last", 4.0}}));
}

TEST(Condition, ListsItsNamesOnce) {
  const Expression expression = Expression::parse("loss > 2 * mean(loss) or model.acc_2 < lr");
  EXPECT_THAT(expression.names(), ElementsAre("loss", "model.acc_2", "lr"));
  EXPECT_EQ(expression.column_of("model.acc_2"), 26U);
}

TEST(Condition, PointsAtWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "column 1: a name or a number is expected, not the end"},
      {"   ", "column 4: a name or a number is expected, not the end"},
      {"loss", "column 1: 'loss' begins a number where a condition is expected"},
      {"loss >", "column 7: a name or a number is expected, not the end"},
      {"loss > > 2", "column 8: a name or a number is expected, not '>'"},
      {"loss = 2", "column 6: '=' is no comparison"},
      {"loss > 2 and", "column 13: a name or a number is expected, not the end"},
      {"loss > 2 loss", "column 10: 'loss' is not expected"},
      {"1 < loss < 2", "column 10: comparisons do not chain: join them with 'and'"},
      {"(loss > 2", "column 10: ')' is expected, not the end"},
      {"loss > 2)", "column 9: ')' is not expected"},
      {"loss + (1 > 2) > 3", "column 8: '(' begins a condition where a number is expected"},
      {"loss > 2 and 3", "column 14: '3' begins a number where a condition is expected"},
      {"3 and loss > 2", "column 1: '3' begins a number where a condition is expected"},
      {"(loss > 2) > 3", "column 1: '(' begins a condition where a number is expected"},
      {"not loss", "column 5: 'loss' begins a number where a condition is expected"},
      {"-(loss > 2) > 1", "column 2: '(' begins a condition where a number is expected"},
      {"(loss > 2) is finite", "column 1: '(' begins a condition where a number is expected"},
      {"loss is", "column 8: 'finite' is expected, not the end"},
      {"loss is nan", "column 9: 'finite' is expected, not 'nan'"},
      {"loss finite", "column 6: 'is' is expected before 'finite'"},
      {"median(loss) > 2", "column 1: there is no function 'median'"},
      {"mean(2) > 2", "column 6: a name is expected, not '2'"},
      {"mean(loss + 1) > 2", "column 11: ')' is expected, not '+'"},
      {"loss > 2 & lr > 1", "column 10: '&' is not expected"},
      {"loss > 1e999", "column 8: 1e999 cannot be held in a double"},
      {"loss > 3x", "column 8: this is no number"},
      {"loss > 1.2.3", "column 8: this is no number"},
      {"loss > .", "column 8: this is no number"},
      {"löss > 2", "column 2: 'ö' is not expected"},
      {"\"ä\" > 2", "column 1: '\"' is not expected"}};
  for (const auto& [text, message] : cases) EXPECT_EQ(problem(text), message) << text;
  EXPECT_THAT(condition_problem("loss >")->hint(), HasSubstr("loss, grad_norm, lr, loss_scale"));
  EXPECT_THAT(problem(std::string(1001, ' ')), HasSubstr("longer than 1000"));
  EXPECT_THAT(problem(std::string(500, '(')), HasSubstr("nested too deep"));
  EXPECT_THAT(problem(std::string(900, '-') + "1 > 2"), HasSubstr("nested too deep"));
  EXPECT_EQ(problem("loss > 10 or grad_norm not finite"), "none");
}

TEST(Condition, NoTextOfTokensBreaksIt) {
  const std::vector<std::string> tokens{
      "loss",   "x.y",  "1",    "2.5e3", "(",    ")",  "+",   "-",  "*",   "/",
      "<",      "<=",   ">",    ">=",    "==",   "!=", "and", "or", "not", "is",
      "finite", "mean", "last", "=",     "\xff", "ü",  ".",   ""};
  std::mt19937 random(7);
  int good = 0;
  for (int i = 0; i < 200000; ++i) {
    std::string text;
    for (auto n = random() % 12; n > 0; --n) {
      text += tokens[random() % tokens.size()];
      if (random() % 4 != 0) text += ' ';
    }
    if (condition_problem(text)) continue;
    ++good;
    (void)Expression::parse(text).holds([](Expression::Reading, std::string_view) { return 1.0; });
  }
  EXPECT_GT(good, 100);
}

DebugConfig rules_of(std::vector<RuleConfig> rules) {
  DebugConfig config;
  config.rules = std::move(rules);
  return config;
}
Figures figures(double loss, double grad_norm = 1) {
  return {{"loss", loss}, {"grad_norm", grad_norm}};
}

TEST(Rules, FireOnTheChangeFromFalseToTrue) {
  Rules rules(rules_of(
      {{.when = "grad_norm > 10", .steps = 7, .enable = {"gradient_norms"}, .ranks = {{3, 1}}}}));
  EXPECT_THAT(rules.observe(figures(1, 5), {}), IsEmpty());
  const std::vector<Request> requests = rules.observe(figures(1, 11), {});
  EXPECT_THAT(requests, ElementsAre(Request{.switches = {Switch::gradient_norms},
                                            .ranks = {1, 3},
                                            .steps = 7,
                                            .every_steps = 10,
                                            .origin = "rule: grad_norm > 10"}));
  EXPECT_THAT(rules.observe(figures(1, 12), {}), IsEmpty());
  EXPECT_THAT(rules.observe(figures(1, 9), {}), IsEmpty());
  EXPECT_EQ(rules.observe(figures(1, 12), {}).size(), 1U);
}

TEST(Rules, FireAtTheFirstObservation) {
  Rules rules(rules_of({{.when = "loss not finite", .enable = {"autograd_anomaly"}}}));
  EXPECT_EQ(rules.observe(figures(nan), {}).size(), 1U);
}

TEST(Rules, LeaveAloneWhatIsOn) {
  Rules rules(rules_of({{.when = "grad_norm > 10", .enable = {"gradient_norms", "forward_pass"}}}));
  const std::vector<Switch> both{Switch::gradient_norms, Switch::forward_pass};
  EXPECT_THAT(rules.observe(figures(1, 11), both), IsEmpty());
  EXPECT_THAT(rules.observe(figures(1, 1), both), IsEmpty());
  const auto requests = rules.observe(figures(1, 11), std::vector{Switch::gradient_norms});
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_THAT(requests[0].switches, ElementsAre(Switch::forward_pass));
}

TEST(Rules, TwoAskForOneSwitchOnce) {
  Rules rules(
      rules_of({{.when = "loss > 1", .steps = 5, .enable = {"forward_pass"}},
                {.when = "loss > 2", .steps = 9, .enable = {"forward_pass", "memory_usage"}}}));
  const auto requests = rules.observe(figures(3), {});
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_THAT(requests[0].switches, ElementsAre(Switch::forward_pass));
  EXPECT_THAT(requests[1].switches, ElementsAre(Switch::memory_usage));
}

TEST(Rules, CompareWithTheMeanOfThePast) {
  Rules rules(rules_of({{.when = "loss > 2 * mean(loss)", .enable = {"forward_pass"}}}));
  EXPECT_THAT(rules.observe(figures(5), {}), IsEmpty());  // there is no past
  for (int i = 0; i < 50; ++i) EXPECT_THAT(rules.observe(figures(5), {}), IsEmpty());
  EXPECT_THAT(rules.observe(figures(nan), {}), IsEmpty());
  EXPECT_THAT(rules.observe(figures(inf), {}), testing::SizeIs(1));
  EXPECT_THAT(rules.observe(figures(9.9), {}), IsEmpty());
  EXPECT_THAT(rules.observe(figures(11), {}), testing::SizeIs(1));
}

TEST(Rules, MeansForgetSlowly) {
  Rules rules(rules_of({{.when = "mean(loss) < 6", .enable = {"forward_pass"}}}));
  (void)rules.observe(figures(10), {});
  for (int i = 0; i < 99; ++i) EXPECT_THAT(rules.observe(figures(10), {}), IsEmpty());
  // 10 * w + 0 * (1 - w) < 6 with w = 0.98^n / (1 + ...): about 30 values of 0 do it.
  int needed = 0;
  while (rules.observe(figures(0), {}).empty() && needed < 200) ++needed;
  EXPECT_GT(needed, 15);
  EXPECT_LT(needed, 50);
}

TEST(Rules, LastIsTheValueBefore) {
  Rules rules(rules_of({{.when = "loss > last(loss)", .enable = {"forward_pass"}}}));
  EXPECT_THAT(rules.observe(figures(1), {}), IsEmpty());
  EXPECT_THAT(rules.observe(figures(2), {}), testing::SizeIs(1));
  EXPECT_THAT(rules.observe(figures(2), {}), IsEmpty());
  EXPECT_THAT(rules.observe(figures(3), {}), testing::SizeIs(1));
}

TEST(Rules, AreOffWithUnknownNamesAndTheOthersGoOn) {
  Rules rules(rules_of({{.when = "accuracy < 0.5 or grad_norn > 1", .enable = {"forward_pass"}},
                        {.when = "loss > 1", .enable = {"memory_usage"}}}));
  const auto requests = rules.observe({{{"loss", 2.0}, {"grad_norm", 5.0}, {"accuracy", 0.1}}}, {});
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_THAT(requests[0].switches, ElementsAre(Switch::memory_usage));
  ASSERT_EQ(rules.problems().size(), 1U);
  EXPECT_THAT(rules.problems()[0],
              HasSubstr("column 19: there is no 'grad_norn', did you mean 'grad_norm'?"));
  EXPECT_THAT(rules.problems()[0], HasSubstr("names: loss, grad_norm, accuracy"));
}

TEST(Rules, RefuseBadConfigurations) {
  EXPECT_THROW(Rules(rules_of({{.when = "loss", .enable = {"memory_usage"}}})), Error);
  EXPECT_THROW(Rules(rules_of({{.when = "loss > 1", .enable = {"memory"}}})), Error);
  EXPECT_TRUE(Rules(DebugConfig{}).empty());
}

}  // namespace
}  // namespace trireme::debug
