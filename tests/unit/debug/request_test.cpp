#include <trireme/debug/request.h>

#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::HasSubstr;

Error refusal(const std::string& text) {
  try {
    (void)parse_request(text);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "was accepted: " << text;
  return Error(ErrorKind::unexpected, "");
}

TEST(Switches, HaveNamesThatLeadBack) {
  for (size_t i = 0; i < switch_count; ++i) {
    const auto which = static_cast<Switch>(i);
    EXPECT_EQ(switch_named(name_of(which)), which);
  }
  EXPECT_EQ(switch_named("gradient_norm"), std::nullopt);
}

TEST(Request, ReadsBackWhatItWrote) {
  const std::vector<Request> requests{
      {.id = "17",
       .switches = {Switch::gradient_norms, Switch::validation},
       .ranks = {0, 3, 5},
       .steps = 20,
       .every_steps = 4,
       .origin = "rule: loss > 2 or \"odd\" \n text"},
      {.switches = {Switch::autograd_profiler}},
      {.id = "x", .action = Request::Action::disable, .switches = {Switch::memory_usage}},
      {.action = Request::Action::disable},
      {.switches = {Switch::autograd_anomaly}, .steps = most_steps}};
  for (const Request& request : requests) {
    EXPECT_EQ(parse_request(to_text(request)), request) << to_text(request);
    EXPECT_THAT(to_text(request), testing::Not(HasSubstr("\n")));
  }
  EXPECT_EQ(parse_lines(to_lines(requests)), requests);
  EXPECT_TRUE(parse_lines("").empty());
  EXPECT_TRUE(to_lines({}).empty());
}

TEST(Request, TakesTheLeastAndOrdersRanks) {
  const Request request = parse_request(
      R"({"action":"enable","switches":["forward_pass","forward_pass"],"ranks":[5,3,5]})");
  EXPECT_EQ(request.switches, std::vector{Switch::forward_pass});
  EXPECT_EQ(request.ranks, (std::vector{3, 5}));
  EXPECT_EQ(request.steps, std::nullopt);
  EXPECT_EQ(request.every_steps, 1);
}

TEST(Request, SuggestsTheNearestSwitch) {
  const Error error = refusal(R"({"action":"enable","switches":["gradient_norm"]})");
  EXPECT_EQ(error.kind(), ErrorKind::usage);
  EXPECT_THAT(error.message(), HasSubstr("'gradient_norm'"));
  EXPECT_THAT(error.hint(), HasSubstr("did you mean 'gradient_norms'?"));
}

TEST(Request, SuggestsTheNearestKey) {
  const Error error = refusal(R"({"action":"enable","switchs":["gradient_norms"]})");
  EXPECT_EQ(error.kind(), ErrorKind::usage);
  EXPECT_THAT(error.message(), HasSubstr("'switchs'"));
  EXPECT_THAT(error.hint(), HasSubstr("did you mean 'switches'?"));
}

TEST(Request, RefusesWhatItDoesNotUnderstand) {
  const std::string on = R"({"action":"enable","switches":["forward_pass"],)";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "no JSON object"},
      {"[]", "no JSON object"},
      {R"({"action":"enable","switches":["forward_pass"])", "no JSON object"},
      {"{}", "no action"},
      {R"({"action":"toggle"})", "action 'toggle'"},
      {R"({"action":7})", "action is no text"},
      {R"({"action":"enable"})", "names no switch"},
      {R"({"action":"enable","switches":[]})", "names no switch"},
      {R"({"action":"enable","switches":"forward_pass"})", "switches is no list"},
      {R"({"action":"enable","switches":[7]})", "switches is no text"},
      {on + R"("steps":-1})", "steps -1 is out of range"},
      {on + R"("steps":0})", "steps 0 is out of range"},
      {on + R"("steps":2.5})", "steps is 2.5"},
      {on + R"("steps":"20"})", "steps is \"20\""},
      {on + R"("steps":18446744073709551615})", "out of range"},
      {on + R"("steps":9223372036854775807})", "out of range"},
      {on + R"("every_steps":0})", "every_steps 0 is out of range"},
      {on + R"("ranks":[-1]})", "ranks -1 is out of range"},
      {on + R"("ranks":[4294967296]})", "out of range"},
      {on + R"("ranks":3})", "ranks is no list"},
      {on + R"("ranks":[true]})", "ranks is true"},
      {on + R"("id":3})", "id is no text"},
      {R"({"action":"disable","steps":3})", "disable takes no steps"},
      {R"({"action":"disable","ranks":[3]})", "disable takes no ranks"}};
  for (const auto& [text, message] : cases) {
    const Error error = refusal(text);
    EXPECT_EQ(error.kind(), ErrorKind::usage) << text;
    EXPECT_THAT(error.message(), HasSubstr(message)) << text;
    EXPECT_FALSE(error.hint().empty()) << text;
  }
}

TEST(Request, KnowsTheRanksThatThereAre) {
  const Request request{.switches = {Switch::forward_pass}, .ranks = {0, 3}};
  EXPECT_NO_THROW(check_ranks(request, 4, ErrorKind::configuration));
  try {
    check_ranks(request, 3, ErrorKind::configuration);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.message(), HasSubstr("no rank 3"));
    EXPECT_THAT(error.hint(), HasSubstr("0 to 2"));
  }
}

TEST(Request, NamesRanksAsPeopleDo) {
  EXPECT_EQ(ranks_text({}), "all ranks");
  EXPECT_EQ(ranks_text(std::vector{3}), "rank 3");
  EXPECT_EQ(ranks_text(std::vector{1, 2, 7}), "ranks 1, 2 and 7");
}

}  // namespace
}  // namespace trireme::debug
