#include <trireme/autograd/backward.h>
#include <trireme/debug/debugger.h>

#include "debug/digest.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::debug {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What a test sees of its tools, and what they do.
struct Stage {
  int rank = 0;
  std::vector<std::string> moments;
  int living = 0;
  std::map<std::string, std::function<void()>> at;  // moment: what happens there, e.g. a throw
  json digest = json::object();
  bool eager = false;
  Journal* journal = nullptr;
};

class FakeTool : public Tool {
 public:
  FakeTool(Stage& stage, Switch which) : stage_(stage), which_(which) {
    tell("make");
    ++stage_.living;
  }
  ~FakeTool() override { --stage_.living; }
  void begin_step(const StepSeen& seen) override {
    tell("begin_step " + std::to_string(seen.step) + (seen.looks ? " looks" : ""));
    happen("begin_step");
  }
  void batch(const BatchSeen&) override { tell("batch"); }
  void loss(const LossSeen&) override { tell("loss"); }
  void gradients(const GradientsSeen&) override { tell("gradients"); }
  void updated(const UpdateSeen&) override { tell("updated"); }
  void end_step() override { tell("end_step"); }
  void decided(const Decided&) override { tell("decided"); }
  void evaluated(const EvaluationSeen&) override { tell("evaluated"); }
  void stopping(const StoppingSeen&) override { tell("stopping"); }
  bool needs_eager_steps() const override { return stage_.eager; }
  bool reads_gradients() const override { return which_ == Switch::gradient_norms; }
  json digest() override {
    happen("digest");
    return stage_.digest;
  }

 private:
  void tell(const std::string& moment) {
    stage_.moments.push_back(std::string(name_of(which_)) + " " + moment);
    happen(moment);
  }
  void happen(const std::string& moment) {
    const auto found = stage_.at.find(moment);
    if (found != stage_.at.end()) found->second();
  }
  Stage& stage_;
  Switch which_;
};

fs::path test_folder() {
  return fs::path(testing::TempDir()) /
         (std::string("debugger_") + testing::UnitTest::GetInstance()->current_test_info()->name() +
          "_" + std::to_string(getpid()));
}

std::unique_ptr<Debugger> make_debugger(Stage& stage, int ranks = 4, bool refuse = false) {
  Debugger::Settings settings;
  settings.subject.rank = stage.rank;
  settings.subject.ranks = ranks;
  settings.host = "n" + std::to_string(stage.rank);
  settings.logs = test_folder();
  settings.refuse = refuse;
  return std::make_unique<Debugger>(
      std::move(settings), [&stage](Switch which, const Subject& subject, Journal& journal) {
        EXPECT_EQ(subject.rank, stage.rank);
        stage.journal = &journal;
        return std::make_unique<FakeTool>(stage, which);
      });
}

void make_step(Debugger& debugger, int64_t step) {
  debugger.begin_step(step);
  debugger.batch({});
  debugger.loss({});
  debugger.gradients({});
  debugger.updated({});
  debugger.end_step();
  debugger.decided({});
  debugger.evaluated({});
  debugger.stopping({});
}

class DebuggerTest : public testing::Test {
 protected:
  void SetUp() override { testing::internal::CaptureStderr(); }
  void TearDown() override {
    if (!said_) (void)said();
    fs::remove_all(test_folder());
  }
  std::string said() {
    said_ = true;
    return testing::internal::GetCapturedStderr();
  }
  json status(const Debugger& debugger) { return json::parse(debugger.status_json(9)); }

  Stage stage_;
  bool said_ = false;
};

TEST_F(DebuggerTest, DoesNothingWhileNothingIsOn) {
  const auto debugger = make_debugger(stage_);
  make_step(*debugger, 1);
  EXPECT_FALSE(debugger->active());
  EXPECT_FALSE(debugger->needs_eager_steps());
  EXPECT_FALSE(debugger->has_digest());
  EXPECT_THAT(debugger->expire(1).off, IsEmpty());
  EXPECT_EQ(debugger->digest(), "{}");
  EXPECT_THAT(stage_.moments, IsEmpty());
  EXPECT_FALSE(fs::exists(test_folder()));
}

TEST_F(DebuggerTest, TellsAToolOfTheMomentsOfAStep) {
  const auto debugger = make_debugger(stage_);
  const auto change = debugger->apply({.switches = {Switch::gradient_norms}}, 4);
  EXPECT_THAT(change.on, ElementsAre(Switch::gradient_norms));
  EXPECT_THAT(change.off, IsEmpty());
  make_step(*debugger, 5);
  std::vector<std::string> expected;
  for (const char* moment : {"make", "begin_step 5 looks", "batch", "loss", "gradients", "updated",
                             "end_step", "decided", "evaluated", "stopping"})
    expected.push_back(std::string("gradient_norms ") + moment);
  EXPECT_EQ(stage_.moments, expected);
  EXPECT_TRUE(debugger->active());
  EXPECT_TRUE(debugger->on(Switch::gradient_norms));
  EXPECT_TRUE(debugger->on_here(Switch::gradient_norms));
  EXPECT_FALSE(debugger->on(Switch::forward_pass));
}

TEST_F(DebuggerTest, LooksAtTheFirstStepAndEveryNth) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::forward_pass}, .every_steps = 3}, 10);
  for (int64_t step = 11; step <= 18; ++step) debugger->begin_step(step);
  EXPECT_THAT(stage_.moments,
              ElementsAre("forward_pass make", "forward_pass begin_step 11 looks",
                          "forward_pass begin_step 12", "forward_pass begin_step 13",
                          "forward_pass begin_step 14 looks", "forward_pass begin_step 15",
                          "forward_pass begin_step 16", "forward_pass begin_step 17 looks",
                          "forward_pass begin_step 18"));
}

TEST_F(DebuggerTest, ExpiresAfterItsSteps) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::forward_pass, Switch::validation}, .steps = 2}, 10);
  (void)debugger->apply({.switches = {Switch::data_loading}}, 10);
  EXPECT_THAT(debugger->expire(10).off, IsEmpty());
  EXPECT_THAT(debugger->expire(11).off, IsEmpty());
  EXPECT_THAT(debugger->expire(12).off, ElementsAre(Switch::forward_pass, Switch::validation));
  EXPECT_THAT(debugger->expire(12).off, IsEmpty());
  EXPECT_EQ(stage_.living, 1);
  EXPECT_THAT(debugger->switches_on(), ElementsAre(Switch::data_loading));
  EXPECT_THAT(debugger->expire(most_steps).off, IsEmpty());
}

TEST_F(DebuggerTest, BeginsAnewWhatIsEnabledAgain) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::forward_pass}, .steps = 5}, 10);
  const auto change = debugger->apply({.switches = {Switch::forward_pass},
                                       .ranks = {0},
                                       .steps = 20,
                                       .every_steps = 2,
                                       .origin = "x"},
                                      12);
  EXPECT_THAT(change.on, ElementsAre(Switch::forward_pass));
  EXPECT_THAT(change.off, IsEmpty());
  EXPECT_EQ(stage_.living, 1);
  EXPECT_THAT(debugger->expire(15).off, IsEmpty());
  const Debugger::Placement* placement = debugger->placement(Switch::forward_pass);
  ASSERT_NE(placement, nullptr);
  EXPECT_THAT(placement->ranks, ElementsAre(0));
  EXPECT_EQ(placement->since_step, 12);
  EXPECT_EQ(placement->until_step, 32);
  EXPECT_EQ(placement->every_steps, 2);
  EXPECT_EQ(placement->origin, "x");
  EXPECT_EQ(debugger->placement(Switch::validation), nullptr);
}

TEST_F(DebuggerTest, DisablesSomeOrAll) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply(
      {.switches = {Switch::validation, Switch::forward_pass, Switch::gradient_norms}}, 1);
  EXPECT_THAT(debugger
                  ->apply({.id = "a",
                           .action = Request::Action::disable,
                           .switches = {Switch::validation, Switch::lr_scheduling}},
                          2)
                  .off,
              ElementsAre(Switch::validation));
  EXPECT_EQ(stage_.living, 2);
  EXPECT_THAT(debugger->apply({.action = Request::Action::disable}, 3).off,
              ElementsAre(Switch::gradient_norms, Switch::forward_pass));
  EXPECT_EQ(stage_.living, 0);
  EXPECT_FALSE(debugger->active());
  EXPECT_THAT(debugger->apply({.id = "b", .action = Request::Action::disable}, 4).off, IsEmpty());
  EXPECT_THAT(debugger->apply({.action = Request::Action::disable, .origin = "silent"}, 4).off,
              IsEmpty());
  EXPECT_THAT(said(), testing::Not(HasSubstr("silent")));
  EXPECT_EQ(status(*debugger)["answers"]["a"]["text"], "validation off since step 2");
  EXPECT_EQ(status(*debugger)["answers"]["b"]["accepted"], true);
}

TEST_F(DebuggerTest, LivesOnChosenRanksOnly) {
  stage_.rank = 1;
  const auto debugger = make_debugger(stage_);
  EXPECT_THAT(debugger->apply({.switches = {Switch::forward_pass}, .ranks = {0, 3}}, 1).on,
              ElementsAre(Switch::forward_pass));
  make_step(*debugger, 2);
  EXPECT_THAT(stage_.moments, IsEmpty());
  EXPECT_TRUE(debugger->on(Switch::forward_pass));
  EXPECT_FALSE(debugger->on_here(Switch::forward_pass));
  EXPECT_TRUE(debugger->needs_eager_steps());  // since rank 0 needs them
  EXPECT_TRUE(debugger->has_digest());
  (void)debugger->apply({.switches = {Switch::forward_pass}, .ranks = {1}}, 2);
  EXPECT_TRUE(debugger->on_here(Switch::forward_pass));
}

TEST_F(DebuggerTest, KnowsWhichSwitchesNeedEagerSteps) {
  for (size_t i = 0; i < switch_count; ++i) {
    const auto which = static_cast<Switch>(i);
    const auto debugger = make_debugger(stage_);
    (void)debugger->apply({.switches = {which}}, 1);
    EXPECT_EQ(debugger->needs_eager_steps(), sees_inside_steps(which)) << name_of(which);
  }
}

TEST_F(DebuggerTest, RefusesAToolThatNeedsEagerStepsBehindTheRanksBacks) {
  stage_.eager = true;
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::validation}}, 1);
  EXPECT_FALSE(debugger->on_here(Switch::validation));
  EXPECT_EQ(stage_.living, 0);
}

TEST_F(DebuggerTest, LeavesProfilersToTheCaller) {
  const auto debugger = make_debugger(stage_);
  EXPECT_THAT(
      debugger->apply({.switches = {Switch::autograd_profiler}, .ranks = {0}, .steps = 2}, 1).on,
      ElementsAre(Switch::autograd_profiler));
  EXPECT_THAT(stage_.moments, IsEmpty());
  EXPECT_TRUE(debugger->on_here(Switch::autograd_profiler));
  EXPECT_THAT(debugger->expire(2).off, IsEmpty());
  EXPECT_THAT(debugger->expire(3).off, ElementsAre(Switch::autograd_profiler));
  (void)debugger->apply({.switches = {Switch::autograd_profiler}}, 3);
  debugger->given_up(Switch::autograd_profiler, 3, "no Kineto");
  EXPECT_FALSE(debugger->on_here(Switch::autograd_profiler));
  EXPECT_THAT(debugger->digest(), HasSubstr("no Kineto"));
}

TEST_F(DebuggerTest, ProductionRefuses) {
  const auto debugger = make_debugger(stage_, 4, true);
  EXPECT_THAT(
      debugger->apply({.id = "a", .switches = {Switch::forward_pass}, .origin = "command line"}, 1)
          .on,
      IsEmpty());
  EXPECT_FALSE(debugger->active());
  const json answer = status(*debugger)["answers"]["a"];
  EXPECT_EQ(answer["accepted"], false);
  EXPECT_THAT(answer["text"].get<std::string>(), HasSubstr("run.profile is production"));
  EXPECT_TRUE(debugger->apply({.action = Request::Action::disable}, 1).off.empty());
  EXPECT_THAT(said(), HasSubstr("debug request refused (command line)"));
}

TEST_F(DebuggerTest, RefusesWhatCannotBeAndChangesNothing) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::validation}}, 1);
  const std::vector<std::pair<Request, std::string>> cases{
      {{.id = "r", .switches = {Switch::validation, Switch::forward_pass}, .ranks = {1, 4}},
       "there is no rank 4: the run has 4"},
      {{.id = "r", .switches = {Switch::validation}, .ranks = {-1}}, "there is no rank -1"},
      {{.id = "r", .switches = {Switch::validation}, .steps = 0}, "steps 0 is out of range"},
      {{.id = "r", .switches = {Switch::validation}, .steps = INT64_MAX}, "out of range"},
      {{.id = "r", .switches = {Switch::validation}, .every_steps = 0},
       "every_steps 0 is out of range"},
      {{.id = "r", .switches = {Switch::validation, Switch::autograd_profiler}, .steps = 10'001},
       "steps 10001 is out of range for a profiler; it keeps in memory what it records, of at most "
       "10000 steps"},
      {{.id = "r"}, "names no switch"}};
  for (const auto& [request, message] : cases) {
    const auto change = debugger->apply(request, 2);
    EXPECT_THAT(change.on, IsEmpty());
    EXPECT_THAT(status(*debugger)["answers"]["r"]["text"].get<std::string>(), HasSubstr(message));
    EXPECT_EQ(debugger->placement(Switch::validation)->since_step, 1);
    EXPECT_FALSE(debugger->on(Switch::forward_pass));
  }
}

TEST_F(DebuggerTest, AToolThatThrowsIsOffAndTheOthersGoOn) {
  const std::vector<std::pair<std::function<void()>, std::string>> throws{
      {[] { throw std::runtime_error("odd\nsecond line"); }, "odd"},
      {[] { throw Error(ErrorKind::storage, "full", "make room"); }, "full"},
      {[] { TORCH_CHECK(false, "shapes differ"); }, "shapes differ"},
      {[] { throw std::bad_alloc(); }, "bad_alloc"},
      {[] { throw 7; }, "an exception of unknown type"}};
  for (const auto& [happens, why] : throws)
    for (const char* moment : {"make", "begin_step", "batch", "loss", "gradients", "updated",
                               "end_step", "decided", "evaluated", "stopping", "digest"}) {
      Stage stage;
      int calls = 0;
      const auto debugger = make_debugger(stage);
      stage.at[moment] = [&, &what = happens] {
        if (++calls == 1) what();
      };
      (void)debugger->apply({.switches = {Switch::gradient_norms, Switch::validation}}, 0);
      EXPECT_NO_THROW(make_step(*debugger, 1));
      const json digest = json::parse(debugger->digest());
      EXPECT_EQ(stage.living, 1) << moment;
      EXPECT_FALSE(debugger->on_here(Switch::gradient_norms)) << moment;
      EXPECT_TRUE(debugger->on(Switch::gradient_norms)) << moment;
      EXPECT_TRUE(debugger->on_here(Switch::validation)) << moment;
      EXPECT_THAT(digest["gradient_norms"]["failed"].get<std::string>(), HasSubstr(why)) << moment;
      EXPECT_THAT(digest["gradient_norms"]["failed"].get<std::string>(),
                  testing::Not(HasSubstr("\n")));
      EXPECT_FALSE(digest.contains("validation"));
      EXPECT_EQ(debugger->digest(), "{}") << "a failure is told once";
      stage.moments.clear();
      make_step(*debugger, 2);
      for (const std::string& seen : stage.moments) EXPECT_THAT(seen, HasSubstr("validation"));
      stage.at.clear();
      (void)debugger->apply({.switches = {Switch::gradient_norms}}, 2);
      EXPECT_TRUE(debugger->on_here(Switch::gradient_norms))
          << "enabled again it is given another chance";
    }
  EXPECT_THAT(
      said(),
      HasSubstr("debug switch gradient_norms failed on rank 0 on n0 and is off there: odd"));
}

/// The digest of a rank 1 as rank 0 hears it.
void hear(Debugger& rank0, Debugger& rank1) {
  rank0.heard(std::vector<std::string>{rank0.digest(), rank1.digest()});
}

TEST_F(DebuggerTest, AProfilerThatIsGivenUpIsOffOnAllRanksAndStandsInTheStatus) {
  Stage other;
  other.rank = 1;
  const auto rank0 = make_debugger(stage_, 2), rank1 = make_debugger(other, 2);
  for (Debugger* const one : {rank0.get(), rank1.get()}) {
    (void)one->apply({.switches = {Switch::autograd_profiler, Switch::lr_scheduling}}, 5);
    one->given_up(Switch::autograd_profiler, 5, one == rank1.get() ? "the disk is full" : "");
    EXPECT_THAT(one->switches_on(), ElementsAre(Switch::lr_scheduling));
    EXPECT_TRUE(one->has_digest());
    EXPECT_THAT(one->expire(100).off, IsEmpty());
  }
  hear(*rank0, *rank1);
  const json expected = json::parse(
      R"({"autograd_profiler":{"since_step":5,"failed_ranks":{"1":"the disk is full"}}})");
  EXPECT_EQ(status(*rank0)["failed"], expected);
  EXPECT_FALSE(status(*rank0)["switches"].contains("autograd_profiler"));
  EXPECT_EQ(rank1->digest(), "{}") << "it is told once";
  (void)rank0->apply({.switches = {Switch::autograd_profiler}}, 9);
  EXPECT_EQ(status(*rank0)["failed"], json::object()) << "it has another chance";
  EXPECT_EQ(status(*rank0)["switches"]["autograd_profiler"]["failed_ranks"], json::object());
}

TEST_F(DebuggerTest, AProfilerThatIsGivenUpAsItGoesOffIsToldOf) {
  Stage other;
  other.rank = 1;
  const auto rank0 = make_debugger(stage_, 2), rank1 = make_debugger(other, 2);
  for (Debugger* const one : {rank0.get(), rank1.get()}) {
    (void)one->apply({.switches = {Switch::tensorboard_profiler}, .steps = 3}, 5);
    EXPECT_THAT(one->expire(8).off, ElementsAre(Switch::tensorboard_profiler));
    one->given_up(Switch::tensorboard_profiler, 5, one == rank0.get() ? "mine" : "theirs");
  }
  hear(*rank0, *rank1);
  EXPECT_EQ(status(*rank0)["failed"]["tensorboard_profiler"]["failed_ranks"],
            json::parse(R"({"0":"mine","1":"theirs"})"));
}

TEST_F(DebuggerTest, AnOlderProfileThatIsGivenUpLeavesTheNewOneOn) {
  const auto debugger = make_debugger(stage_, 1);
  (void)debugger->apply({.switches = {Switch::autograd_profiler}}, 5);
  (void)debugger->apply({.switches = {Switch::autograd_profiler}}, 7);
  debugger->given_up(Switch::autograd_profiler, 5, "full");
  EXPECT_TRUE(debugger->on_here(Switch::autograd_profiler));
  const std::string digest = debugger->digest();
  EXPECT_THAT(digest, HasSubstr("full"));
  debugger->heard(std::vector<std::string>{digest});
  EXPECT_EQ(status(*debugger)["switches"]["autograd_profiler"]["failed_ranks"], json::object());
  EXPECT_EQ(status(*debugger)["failed"], json::object());
}

TEST_F(DebuggerTest, AToolThatHadFailedStaysInTheStatusWhenItIsOff) {
  const auto debugger = make_debugger(stage_);
  stage_.at["loss"] = [] {
    throw std::runtime_error("odd");
  };
  (void)debugger->apply({.switches = {Switch::gradient_norms}, .steps = 1}, 0);
  make_step(*debugger, 1);
  EXPECT_EQ(status(*debugger)["failed"], json::object()) << "it is on, on other ranks";
  (void)debugger->expire(1);
  EXPECT_EQ(status(*debugger)["failed"],
            json::parse(R"({"gradient_norms":{"since_step":0,"failed_ranks":{"0":"odd"}}})"));
}

TEST_F(DebuggerTest, ARunThatFailsStillTellsWhatNoDigestHas) {
  stage_.rank = 1;
  {
    const auto debugger = make_debugger(stage_);
    (void)debugger->apply({.switches = {Switch::gradient_norms}}, 0);
    debugger->begin_step(1);
    stage_.journal->finding("told");
    (void)debugger->digest();
    stage_.journal->finding("found as the run failed");
    (void)debugger->apply({.switches = {Switch::validation}, .steps = 1}, 0);
    stage_.journal->finding("went off before");
    (void)debugger->expire(1);
    debugger->given_up(Switch::autograd_profiler, 0, "full");
  }
  const std::string text = said();
  EXPECT_THAT(text, HasSubstr("gradient_norms: rank 1 on n1: found as the run failed"));
  EXPECT_THAT(text, HasSubstr("validation: rank 1 on n1: went off before"));
  EXPECT_THAT(text, HasSubstr("autograd_profiler: rank 1 on n1: failed and is off there: full"));
  EXPECT_THAT(text, testing::Not(HasSubstr("rank 1 on n1: told")));
}

/// Attends a unit and throws before backward, which still comes to it.
class Fleeting final : public Tool, public autograd::UnitAttendant {
 public:
  Fleeting(autograd::Unit& unit, std::vector<std::string>& moments)
      : unit_(unit), moments_(moments) {
    unit_.add_attendant(*this);
  }
  ~Fleeting() override {
    unit_.remove_attendant(*this);
    moments_.push_back("destroyed");
  }
  void loss(const LossSeen&) override { throw std::runtime_error("odd"); }
  void gradients(const GradientsSeen&) override { moments_.push_back("gradients"); }
  void end_step() override { moments_.push_back("end_step"); }
  void silence() noexcept override { silent_ = true; }
  json digest() override { return json::object(); }

  void before_forward(autograd::Unit&) override {}
  void after_forward(autograd::Unit&) override {}
  void before_backward(autograd::Unit&) override {}
  void after_backward(autograd::Unit&) override {
    moments_.push_back(silent_ ? "silent in backward" : "backward");
  }

 private:
  autograd::Unit& unit_;
  std::vector<std::string>& moments_;
  bool silent_ = false;
};

TEST_F(DebuggerTest, AToolThatFailsInAStepOutlivesItsBackward) {
  struct Half final : autograd::Block {
    explicit Half(const autograd::BuildContext& context) : Block(context) {}
    std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
      return {inputs[0] * 0.5};
    }
  };
  for (const bool ends : {true, false}) {
    autograd::Unit unit("half",
                        [](const autograd::BuildContext& c) { return std::make_unique<Half>(c); });
    unit.build({});
    std::vector<std::string> moments;
    Debugger::Settings settings;
    settings.logs = test_folder();
    Debugger debugger(std::move(settings), [&](Switch, const Subject&, Journal&) {
      return std::make_unique<Fleeting>(unit, moments);
    });
    (void)debugger.apply({.switches = {Switch::backward_pass}}, 0);
    debugger.begin_step(1);
    const at::Tensor x = at::ones({2}).requires_grad_();
    const at::Tensor loss = unit(x).sum();
    debugger.loss({.loss_sum = &loss});
    EXPECT_FALSE(debugger.on_here(Switch::backward_pass));
    EXPECT_THAT(moments, IsEmpty());
    autograd::backward(loss);
    debugger.gradients({});
    EXPECT_THAT(moments, ElementsAre("silent in backward"));
    if (ends)
      debugger.end_step();
    else
      debugger.begin_step(2);  // the step threw
    EXPECT_THAT(moments, ElementsAre("silent in backward", "destroyed"));
    autograd::backward(unit(x).sum());
    EXPECT_EQ(moments.size(), 2U);
  }
}

TEST_F(DebuggerTest, KnowsWhetherATellableToolReadsGradients) {
  const auto debugger = make_debugger(stage_);
  EXPECT_FALSE(debugger->reads_gradients());
  (void)debugger->apply({.switches = {Switch::validation}}, 0);
  (void)debugger->apply({.switches = {Switch::gradient_norms}, .ranks = {1}}, 0);
  EXPECT_FALSE(debugger->reads_gradients()) << "another rank's does";
  stage_.at["loss"] = [] {
    throw std::runtime_error("odd");
  };
  (void)debugger->apply({.switches = {Switch::gradient_norms}}, 0);
  EXPECT_TRUE(debugger->reads_gradients());
  make_step(*debugger, 1);
  EXPECT_FALSE(debugger->reads_gradients()) << "it has failed";
}

TEST_F(DebuggerTest, RefusesWhatWasTakenButIsNotApplied) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::validation}}, 1);
  debugger->refuse({.id = "late", .switches = {Switch::validation}, .origin = "command line"},
                   "the run ends");
  debugger->refuse({.action = Request::Action::disable}, "nobody waits");
  const json answers = status(*debugger)["answers"];
  EXPECT_EQ(answers["late"], (json{{"accepted", false}, {"text", "the run ends"}}));
  EXPECT_EQ(answers.size(), 1U);
  EXPECT_EQ(debugger->placement(Switch::validation)->since_step, 1);
  EXPECT_THAT(said(), HasSubstr("debug request refused (command line): the run ends"));
}

TEST_F(DebuggerTest, ProfilersWithoutStepsAreBounded) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.id = "a", .switches = {Switch::autograd_profiler, Switch::validation}},
                        5);
  EXPECT_EQ(debugger->placement(Switch::autograd_profiler)->until_step, 5 + default_profile_steps);
  EXPECT_EQ(debugger->placement(Switch::validation)->until_step, std::nullopt);
  EXPECT_THAT(
      status(*debugger)["answers"]["a"]["text"].get<std::string>(),
      HasSubstr("of which profilers until step 15: a profiler records 10 steps unless told"));
  (void)debugger->apply({.id = "b", .switches = {Switch::tensorboard_profiler}}, 6);
  EXPECT_THAT(status(*debugger)["answers"]["b"]["text"].get<std::string>(),
              HasSubstr("on all ranks until step 16: a profiler records 10 steps unless told"));
  (void)debugger->apply({.switches = {Switch::tensorboard_profiler}, .steps = 50}, 6);
  EXPECT_EQ(debugger->placement(Switch::tensorboard_profiler)->until_step, 56);
  EXPECT_THAT(debugger->expire(15).off, ElementsAre(Switch::autograd_profiler));
}

TEST_F(DebuggerTest, DigestsWhatToolsFind) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::gradient_norms}}, 0);
  debugger->begin_step(1);
  stage_.journal->finding("h.0.w is not finite");
  stage_.journal->record({{"norm", 1}});
  stage_.digest = {{"worst", std::nan("")}};
  const json digest = json::parse(debugger->digest());
  EXPECT_EQ(digest["gradient_norms"]["digest"]["worst"], "nan");
  EXPECT_EQ(digest["gradient_norms"]["findings"], json({"h.0.w is not finite"}));
  EXPECT_FALSE(digest["gradient_norms"].contains("failed"));
  EXPECT_TRUE(fs::exists(test_folder() / "gradient_norms.rank000.jsonl"));
  stage_.digest = nullptr;
  EXPECT_EQ(debugger->digest(), "{}");
}

TEST_F(DebuggerTest, DigestsWhatWasOffBeforeItWasAsked) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.switches = {Switch::gradient_norms}, .steps = 1}, 0);
  debugger->begin_step(1);
  stage_.journal->finding("early");
  stage_.digest = {{"n", 1}};
  (void)debugger->expire(1);
  EXPECT_FALSE(debugger->active());
  EXPECT_TRUE(debugger->has_digest());
  (void)debugger->apply({.switches = {Switch::gradient_norms}}, 1);
  debugger->begin_step(2);
  stage_.journal->finding("late");
  stage_.digest = {{"n", 2}};
  const json digest = json::parse(debugger->digest());
  EXPECT_EQ(digest["gradient_norms"]["findings"], json({"early", "late"}));
  EXPECT_EQ(digest["gradient_norms"]["digest"]["n"], 2);
  (void)debugger->apply({.action = Request::Action::disable}, 2);
  EXPECT_TRUE(debugger->has_digest());
  (void)debugger->digest();
  EXPECT_FALSE(debugger->has_digest());
}

TEST_F(DebuggerTest, TellsItsStatus) {
  const auto debugger = make_debugger(stage_);
  (void)debugger->apply({.id = "1",
                         .switches = {Switch::gradient_norms},
                         .ranks = {3},
                         .steps = 20,
                         .origin = "command line"},
                        5);
  (void)debugger->apply(
      {.switches = {Switch::validation}, .every_steps = 10, .origin = "configuration"}, 6);
  debugger->heard(std::vector<std::string>{
      "{}", "garbage", "{}", R"({"gradient_norms":{"failed":"odd","since_step":5}})"});
  debugger->heard(
      std::vector<std::string>{R"({"gradient_norms":{"failed":"an older one","since_step":4}})"});
  const json read = status(*debugger);
  EXPECT_EQ(read["step"], 9);
  EXPECT_EQ(
      read["switches"]["gradient_norms"],
      json::parse(
          R"({"ranks":[3],"since_step":5,"until_step":25,"every_steps":1,"origin":"command line","failed_ranks":{"3":"odd"}})"));
  EXPECT_EQ(read["switches"]["validation"]["ranks"], "all");
  EXPECT_TRUE(read["switches"]["validation"]["until_step"].is_null());
  EXPECT_EQ(read["answers"]["1"]["text"], "gradient_norms on since step 5 on rank 3 until step 25");
}

TEST_F(DebuggerTest, KeepsTheLastAnswers) {
  const auto debugger = make_debugger(stage_);
  for (int i = 0; i < 100; ++i)
    (void)debugger->apply({.id = std::to_string(i), .switches = {Switch::validation}}, i);
  const json answers = status(*debugger)["answers"];
  EXPECT_EQ(answers.size(), 32U);
  EXPECT_TRUE(answers.contains("99"));
  EXPECT_FALSE(answers.contains("0"));
}

/// All ranks get the same requests; one rank's tools fail.
TEST_F(DebuggerTest, TablesAreEqualOnAllRanks) {
  constexpr int ranks = 4;
  std::vector<Request> requests{
      {.id = "a",
       .switches = {Switch::gradient_norms, Switch::validation},
       .ranks = {1, 3},
       .steps = 3},
      {.id = "b", .switches = {Switch::forward_pass}, .ranks = {2, 4}},
      {.id = "c", .switches = {Switch::memory_usage}, .steps = 4},
      {.id = "d", .action = Request::Action::disable, .switches = {Switch::validation}}};
  const std::string lines = to_lines(requests);
  std::vector<std::string> told(ranks), tables(ranks);
  std::vector<std::vector<bool>> facts(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      const auto index = static_cast<size_t>(rank);
      Stage stage;
      stage.rank = rank;
      if (rank == 3)
        stage.at["loss"] = [] {
          throw std::runtime_error("odd");
        };
      const auto debugger = make_debugger(stage, ranks);
      int64_t step = 0;
      for (const Request& request : parse_lines(lines)) {
        (void)debugger->apply(request, step);
        make_step(*debugger, ++step);
        const auto change = debugger->expire(step);
        facts[index].insert(facts[index].end(), {debugger->active(), debugger->needs_eager_steps(),
                                                 change.off.empty()});
        for (size_t i = 0; i < switch_count; ++i)
          facts[index].push_back(debugger->on(static_cast<Switch>(i)));
      }
      told[index] = debugger->digest();
      json table = json::parse(debugger->status_json(step));
      for (auto& [name, item] : table["switches"].items()) item.erase("failed_ranks");
      table.erase("failed");  // what each rank knows of failures
      tables[index] = table.dump();
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t rank = 1; rank < ranks; ++rank) {
    EXPECT_EQ(tables[rank], tables[0]);
    EXPECT_EQ(facts[rank], facts[0]);
  }
  EXPECT_THAT(tables[0], HasSubstr(R"("b":{"accepted":false)"));
  EXPECT_THAT(told[3], HasSubstr("odd"));
  EXPECT_EQ(told[0].find("odd"), std::string::npos);
}

TEST(Digest, ReadsBackWhatItWrote) {
  const RankDigest digest{{Switch::gradient_norms,
                           {.digest = {{"n", 1}}, .findings = {"a", "b"}, .findings_left_out = 3}},
                          {Switch::validation, {.failed = "odd", .since_step = 5}},
                          {Switch::forward_pass, {}}};
  const RankDigest back = read_digest(to_text(digest));
  ASSERT_EQ(back.size(), 2U);
  EXPECT_EQ(back.at(Switch::gradient_norms).digest, digest.at(Switch::gradient_norms).digest);
  EXPECT_EQ(back.at(Switch::gradient_norms).findings, digest.at(Switch::gradient_norms).findings);
  EXPECT_EQ(back.at(Switch::gradient_norms).findings_left_out, 3);
  EXPECT_EQ(back.at(Switch::validation).failed, "odd");
  EXPECT_EQ(back.at(Switch::validation).since_step, 5);
  for (const char* text : {"", "7", "{", R"({"gradient_norms":7})",
                           R"({"gradient_norms":{"findings":7}})", R"({"other":{}})"})
    EXPECT_TRUE(read_digest(text).empty()) << text;
}

TEST(Digest, IsSummedUpForPeople) {
  const std::vector<std::string> hosts{"n1", "n1", "n2", "n2"};
  const std::vector<std::string> by_rank{
      to_text({{Switch::gradient_norms, {.digest = {{"norm", 1.5}}}}}),
      to_text(
          {{Switch::gradient_norms, {.findings = {"h.3.w is not finite"}, .findings_left_out = 2}},
           {Switch::validation, {.findings = {"a sample was seen twice"}}}}),
      to_text({{Switch::validation, {.findings = {"a sample was seen twice"}}}}),
      to_text({{Switch::gradient_norms, {.failed = "odd"}}})};
  const DigestSummary summary = digest_summary(by_rank, 40, 2, hosts);
  ASSERT_EQ(summary.lines.size(), 2U);
  EXPECT_EQ(
      json::parse(summary.lines[0]),
      json::parse(
          R"({"schema":1,"attempt":2,"step":40,"switch":"gradient_norms","ranks":{"0":{"norm":1.5}},
                            "findings":[{"rank":1,"host":"n1","text":"h.3.w is not finite"}],"findings_left_out":2,
                            "failed":[{"rank":3,"host":"n2","text":"odd"}]})"));
  EXPECT_EQ(json::parse(summary.lines[1])["findings"].size(), 2U);
  EXPECT_THAT(summary.console,
              ElementsAre("gradient_norms: rank 1 on n1: h.3.w is not finite",
                          "gradient_norms: rank 3 on n2: failed and is off there: odd",
                          "validation: ranks 1 and 2: a sample was seen twice",
                          "2 more findings: see logs/debug"));
  EXPECT_THAT(digest_summary(std::vector<std::string>{"{}", "{}"}, 40, 2, hosts).lines, IsEmpty());
}

TEST(Digest, FitsTheConsole) {
  SwitchDigest much;
  for (int i = 0; i < 20; ++i) much.findings.push_back("unit " + std::to_string(i));
  SwitchDigest more;
  for (int i = 20; i < 40; ++i) more.findings.push_back("unit " + std::to_string(i));
  const std::vector<std::string> by_rank{to_text({{Switch::forward_pass, much}}),
                                         to_text({{Switch::forward_pass, more}})};
  const DigestSummary summary = digest_summary(by_rank, 1, 1, {});
  EXPECT_EQ(summary.console.size(), 21U);
  EXPECT_EQ(summary.console.back(), "20 more findings: see logs/debug");
}

}  // namespace
}  // namespace trireme::debug
