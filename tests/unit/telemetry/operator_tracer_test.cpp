#include <trireme/core/error.h>
#include <trireme/telemetry/memory.h>
#include <trireme/telemetry/operator_tracer.h>
#include <trireme/telemetry/span_log.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/ThreadLocalState.h>
#include <ATen/record_function.h>

#include <gmock/gmock.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/profiler/api.h>

namespace trireme::telemetry {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::Le;
using Kind = OperatorEvent::Kind;

/// Everything is recorded by both tracers.
class Tracers : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() { install_counting_allocator(); }
  static std::unique_ptr<OperatorTracer> make(const OperatorTracer::Settings& settings = {}) {
    return GetParam() == "kineto" ? make_kineto_tracer(settings, at::kCPU) : make_callback_tracer(settings);
  }
};

std::string name(const OperatorTrace& trace, const OperatorEvent& event) { return trace.strings[event.name]; }

std::vector<OperatorEvent> named(const OperatorTrace& trace, const std::string& wanted) {
  std::vector<OperatorEvent> found;
  for (const OperatorEvent& event : trace.events)
    if (name(trace, event) == wanted) found.push_back(event);
  return found;
}

std::map<std::string, int> counts(const OperatorTrace& trace) {
  std::map<std::string, int> counts;
  for (const OperatorEvent& event : trace.events) ++counts[name(trace, event)];
  return counts;
}

struct Network {
  at::Tensor w1 = at::ones({32, 16}).requires_grad_();
  at::Tensor w2 = at::ones({8, 32}).requires_grad_();
  at::Tensor x = at::ones({4, 16});

  at::Tensor forward() const { return at::linear(at::relu(at::linear(x, w1)), w2).sum(); }
  void step() {
    forward().backward();
    w1.mutable_grad().reset();
    w2.mutable_grad().reset();
  }
};

TEST_P(Tracers, AKnownGraphGivesItsOperations) {
  Network network;
  network.step();  // what is made once
  const auto tracer = make();
  tracer->start();
  tracer->begin_step(7);
  network.step();
  tracer->begin_step(8);
  network.step();
  const OperatorTrace trace = tracer->stop();

  const auto count = counts(trace);
  EXPECT_EQ(count.at("aten::linear"), 4);
  EXPECT_EQ(count.at("aten::relu"), 2);
  EXPECT_EQ(count.at("aten::sum"), 4);  // each calls the one with dimensions
  EXPECT_EQ(count.at("aten::mm"), 2 * (2 + 3));  // forward 2; backward 3, the input needs no gradient
  EXPECT_EQ(count.at("MmBackward0"), 4);
  EXPECT_EQ(count.at("ReluBackward0"), 2);
  EXPECT_EQ(count.at("autograd::engine::evaluate_function: SumBackward0"), 2);
  EXPECT_EQ(trace.dropped, 0);
  EXPECT_EQ(trace.strings[0], "");

  std::set<int64_t> steps;
  for (const OperatorEvent& event : trace.events) steps.insert(event.step);
  EXPECT_THAT(steps, ElementsAre(7, 8));
  const auto mm = named(trace, "aten::mm");
  EXPECT_EQ(mm.front().step, 7);
  EXPECT_EQ(mm.back().step, 8);
  EXPECT_EQ(mm.front().thread, 0);
  EXPECT_EQ(mm.front().device, -1);
}

TEST_P(Tracers, OperationsLieWithinEachOtherAndInTime) {
  Network network;
  const int64_t before = now_ns();
  const auto tracer = make();
  tracer->start();
  network.step();
  const OperatorTrace trace = tracer->stop();
  const int64_t after = now_ns();

  const std::vector<int64_t> parents = parents_of(trace.events);
  for (size_t i = 0; i < trace.events.size(); ++i) {
    const OperatorEvent& event = trace.events[i];
    // The conversion of Kineto's clock costs some microseconds.
    EXPECT_THAT(event.start_ns, AllOf(Ge(before - 100'000), Le(after + 100'000)));
    EXPECT_GE(event.duration_ns, 0);
    if (name(trace, event) == "aten::mm" && parents[i] >= 0) {
      const std::string parent = name(trace, trace.events[static_cast<size_t>(parents[i])]);
      EXPECT_THAT(parent, testing::AnyOf("aten::matmul", "MmBackward0"));
    }
    if (name(trace, event) == "MmBackward0") {
      EXPECT_EQ(name(trace, trace.events[static_cast<size_t>(parents[i])]), "autograd::engine::evaluate_function: MmBackward0");
    }
  }
}

TEST_P(Tracers, ShapesAndFlops) {
  const at::Tensor a = at::ones({3, 5}), b = at::ones({5, 7});
  const at::Tensor image = at::ones({2, 4, 10, 12}), kernel = at::ones({6, 4, 3, 3});
  const auto tracer = make();
  tracer->start();
  (void)at::mm(a, b);
  (void)at::cat({a, a});
  (void)at::convolution(image, kernel, {}, {2, 2}, {1, 1}, {1, 1}, false, {0, 0}, 1);
  const OperatorTrace trace = tracer->stop();

  const auto mm = named(trace, "aten::mm");
  ASSERT_EQ(mm.size(), 1U);
  EXPECT_EQ(trace.strings[mm[0].shapes], "[[3, 5], [5, 7]]");
  EXPECT_EQ(mm[0].flops, 2 * 3 * 5 * 7);
  int64_t all = 0;
  for (const OperatorEvent& event : trace.events) all += event.flops;
  // The convolution's count appears once, however many operations it is made of.
  EXPECT_EQ(all, 2 * 3 * 5 * 7 + 2 * (2 * 5 * 6) * (6 * 4 * 3 * 3));
}

TEST_P(Tracers, NothingOfInputsWhereNotAsked) {
  const at::Tensor a = at::ones({3, 5}), b = at::ones({5, 7});
  const auto tracer = make({.shapes = false, .flops = false});
  tracer->start();
  (void)at::mm(a, b);
  const OperatorTrace trace = tracer->stop();
  EXPECT_EQ(named(trace, "aten::mm").at(0).shapes, 0U);
  EXPECT_EQ(named(trace, "aten::mm").at(0).flops, 0);
}

TEST_P(Tracers, RangesOfUsersAreAnnotations) {
  const auto tracer = make();
  tracer->start();
  {
    RECORD_USER_SCOPE("my range");
    (void)at::ones({3});
  }
  const OperatorTrace trace = tracer->stop();
  ASSERT_EQ(named(trace, "my range").size(), 1U);
  EXPECT_EQ(named(trace, "my range")[0].kind, Kind::annotation);
  EXPECT_EQ(named(trace, "aten::ones").at(0).kind, Kind::operation);
}

TEST_P(Tracers, AnExceptionLeavesTheRecordingWhole) {
  const auto tracer = make();
  tracer->start();
  try {
    RECORD_USER_SCOPE("fails");
    (void)at::mm(at::ones({2, 3}), at::ones({2, 3}));
    FAIL();
  } catch (const std::exception&) {
  }
  (void)at::relu(at::ones({3}));
  const OperatorTrace trace = tracer->stop();
  const auto failed = named(trace, "fails").at(0);
  const auto after = named(trace, "aten::relu").at(0);
  EXPECT_LE(failed.start_ns + failed.duration_ns, after.start_ns + 1000);
}

TEST_P(Tracers, OnlyOneRecords) {
  const auto tracer = make();
  tracer->start();
  const auto other = make_callback_tracer({});
  const auto refused = [](OperatorTracer& one) {
    try {
      one.start();
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::environment);
      EXPECT_THAT(error.message(), HasSubstr("only one recorder"));
    }
  };
  refused(*other);
  refused(*make_kineto_tracer({}, at::kCPU));
  EXPECT_FALSE(other->running());
  (void)at::ones({3});
  EXPECT_EQ(counts(tracer->stop()).at("aten::ones"), 1);
  EXPECT_FALSE(tracer->running());
  other->start();
  EXPECT_TRUE(other->running());
  (void)other->stop();
}

TEST_P(Tracers, RecordsAgainFromNothing) {
  const auto tracer = make();
  for (int turn = 0; turn < 3; ++turn) {
    tracer->prepare();
    tracer->start();
    tracer->begin_step(turn);
    (void)at::relu(at::zeros({3}));
    const OperatorTrace trace = tracer->stop();
    EXPECT_EQ(counts(trace).at("aten::relu"), 1);
    EXPECT_EQ(named(trace, "aten::relu")[0].step, turn);
    (void)at::relu(at::zeros({3}));
  }
}

TEST_P(Tracers, OneThatIsForgottenStops) {
  make()->start();
  EXPECT_FALSE(at::hasCallbacks());
  const auto next = make();
  next->start();
  (void)next->stop();
  EXPECT_FALSE(at::hasCallbacks());
}

INSTANTIATE_TEST_SUITE_P(All, Tracers, testing::Values("callbacks", "kineto"), [](const auto& one) { return one.param; });

TEST(TwoTracers, TellTheSame) {
  Network network;
  network.step();
  const auto record = [&](OperatorTracer& tracer) {
    tracer.start();
    network.step();
    return tracer.stop();
  };
  const OperatorTrace ours = record(*make_callback_tracer({}));
  OperatorTrace kinetos = record(*make_kineto_tracer({}, at::kCPU));
  std::erase_if(kinetos.events, [](const OperatorEvent& event) { return event.kind == Kind::memory; });
  EXPECT_EQ(counts(ours), counts(kinetos));
  const auto content = [](const OperatorTrace& trace) {
    std::multiset<std::string> all;
    for (const OperatorEvent& event : trace.events)
      all.insert(trace.strings[event.name] + trace.strings[event.shapes] + std::to_string(event.flops));
    return all;
  };
  std::vector<std::string> differences;
  std::ranges::set_symmetric_difference(content(ours), content(kinetos), std::back_inserter(differences));
  EXPECT_THAT(differences, testing::IsEmpty());
}

class CallbackTracer : public testing::Test {
 protected:
  static void SetUpTestSuite() { install_counting_allocator(); }
};

TEST_F(CallbackTracer, BytesBelongToTheOperation) {
  constexpr int64_t mebibyte = 1 << 20;
  at::Tensor kept;
  const auto tracer = make_callback_tracer({});
  tracer->start();
  kept = at::ones({mebibyte / 4});
  { const at::Tensor gone = at::exp(kept); }
  {
    RECORD_USER_SCOPE("frees");
    kept.reset();
  }
  const OperatorTrace trace = tracer->stop();
  const auto bytes = [&](const std::string& one) { return named(trace, one).at(0).bytes; };
  EXPECT_THAT(bytes("aten::ones"), AllOf(Ge(mebibyte), Le(mebibyte + 4096 * 3)));
  EXPECT_EQ(bytes("aten::ones"), bytes("aten::empty"));  // what runs inside counts, too
  EXPECT_EQ(bytes("aten::fill_"), 0);
  EXPECT_GE(bytes("aten::exp"), mebibyte);
  EXPECT_LE(bytes("frees"), -mebibyte);
}

TEST_F(CallbackTracer, WhatIsTooMuchIsCounted) {
  const at::Tensor a = at::ones({3});
  const auto tracer = make_callback_tracer({.max_events = 10});
  tracer->start();
  for (int i = 0; i < 25; ++i) {
    RECORD_USER_SCOPE("around");  // 25 ranges, each with one operation inside
    (void)at::relu(a);
  }
  const OperatorTrace trace = tracer->stop();
  EXPECT_EQ(trace.events.size(), 10U);
  const auto complete = make_callback_tracer({});
  complete->start();
  (void)at::relu(a);
  const auto per_relu = static_cast<int64_t>(complete->stop().events.size());
  EXPECT_EQ(trace.dropped, 25 * (1 + per_relu) - 10);
}

TEST(KinetoTracer, RestsWhenItIsFull) {
  const at::Tensor a = at::ones({3});
  const auto work = [&](int times) {
    for (int i = 0; i < times; ++i) (void)at::neg(a);  // one operation
  };
  const auto tracer = make_kineto_tracer({.shapes = false, .flops = false, .memory = false, .max_events = 30}, at::kCPU);
  tracer->start();
  tracer->begin_step(1);
  work(10);
  EXPECT_FALSE(tracer->full());
  tracer->begin_step(2);
  work(50);
  ASSERT_TRUE(tracer->full());
  EXPECT_TRUE(torch::profiler::impl::profilerEnabled());
  tracer->rest();
  EXPECT_FALSE(torch::profiler::impl::profilerEnabled()) << "nothing is kept any more";
  EXPECT_FALSE(tracer->full());
  EXPECT_TRUE(tracer->running());
  EXPECT_THROW((void)make_callback_tracer({})->start(), Error) << "it is still this one's turn";
  tracer->begin_step(3);
  work(100);
  EXPECT_FALSE(tracer->full()) << "it can be full but once";
  const OperatorTrace trace = tracer->stop();
  EXPECT_EQ(trace.events.size(), 30U);
  EXPECT_EQ(trace.dropped, 160 - 30);
  EXPECT_EQ(trace.events.front().step, 1);
  EXPECT_EQ(trace.events.back().step, 2);
  EXPECT_FALSE(at::hasCallbacks());

  tracer->start();  // from nothing
  work(5);
  const OperatorTrace next = tracer->stop();
  EXPECT_EQ(next.events.size(), 5U);
  EXPECT_EQ(next.dropped, 0);
}

TEST(KinetoTracer, ThatIsForgottenAtRestLeavesNothing) {
  {
    const auto tracer = make_kineto_tracer({.max_events = 1}, at::kCPU);
    tracer->start();
    (void)at::ones({3});
    ASSERT_TRUE(tracer->full());
    tracer->rest();
  }
  EXPECT_FALSE(at::hasCallbacks());
  const auto next = make_callback_tracer({});
  EXPECT_NO_THROW(next->start());
}

TEST_F(CallbackTracer, ThreadsOfAutogradAreRecordedOthersAreNot) {
  const auto tracer = make_callback_tracer({});
  tracer->start();
  (void)at::zeros({3});
  // As autograd's engine does for its device threads.
  const at::ThreadLocalState state;
  std::thread([&] {
    const at::ThreadLocalStateGuard guard(state);
    (void)at::ones({3});
  }).join();
  std::thread([] { (void)at::relu(at::full({3}, 1.0F)); }).join();
  const OperatorTrace trace = tracer->stop();
  EXPECT_EQ(named(trace, "aten::zeros").at(0).thread, 0);
  EXPECT_EQ(named(trace, "aten::ones").at(0).thread, 1);
  EXPECT_EQ(counts(trace).count("aten::relu"), 0U);
}

TEST_F(CallbackTracer, RangesThatCrossItsLifeAreCutOrLeftOut) {
  const auto tracer = make_callback_tracer({});
  {
    RECORD_USER_SCOPE("before");
    tracer->start();
  }
  OperatorTrace trace;
  {
    RECORD_USER_SCOPE("open");
    (void)at::ones({3});
    trace = tracer->stop();
    tracer->start();
  }
  (void)at::zeros({3});
  const OperatorTrace next = tracer->stop();
  EXPECT_EQ(counts(trace).count("before"), 0U);
  const auto open = named(trace, "open").at(0);
  const auto inside = named(trace, "aten::ones").at(0);
  EXPECT_GE(open.start_ns + open.duration_ns, inside.start_ns + inside.duration_ns);
  EXPECT_EQ(counts(next).count("open"), 0U);
  EXPECT_EQ(counts(next).at("aten::zeros"), 1);
}

[[gnu::noinline]] at::Tensor called_from_here(const at::Tensor& x) {
  at::Tensor result = at::relu(x);
  result.add_(1);
  return result;
}

TEST_F(CallbackTracer, StacksNameTheCallers) {
  const at::Tensor a = at::ones({3});
  const auto tracer = make_callback_tracer({.stacks = true});
  tracer->start();
  (void)called_from_here(a);
  const OperatorTrace trace = tracer->stop();
  const std::string stack = trace.strings[named(trace, "aten::relu").at(0).stack];
  EXPECT_THAT(stack, HasSubstr("at::_ops::relu::call"));
  EXPECT_THAT(stack, testing::Not(HasSubstr("OperatorLog")));
  EXPECT_GT(std::ranges::count(stack, '\n'), 3);
}

}  // namespace
}  // namespace trireme::telemetry
