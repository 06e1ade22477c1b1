#include "trainer/step_graphs.h"

#include <trireme/core/error.h>

#include <gmock/gmock.h>

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

/// The work on tensors that a body did last, as a device would see it: without the body's host code.
using Work = std::function<void()>;

class RerunGraph final : public device::Graph {
 public:
  RerunGraph(bool refuses, const Work& last) : refuses_(refuses), last_(last) {}
  void record(const std::function<void()>& body) override {
    if (refuses_) throw Error(ErrorKind::environment, "this cannot be recorded");
    body();
    recorded_ = last_;
  }
  void replay() override { recorded_(); }

 private:
  bool refuses_;
  const Work& last_;
  Work recorded_;
};

class RerunBackend final : public device::Backend {
 public:
  [[nodiscard]] c10::DeviceType type() const override { return c10::kCPU; }
  [[nodiscard]] const std::vector<device::Accelerator>& devices() const override { return devices_; }
  void use(int) override {}
  void apply(const device::ComputeSettings&, int) override {}
  [[nodiscard]] std::unique_ptr<device::Graph> make_graph(int) override {
    ++graphs;
    return std::make_unique<RerunGraph>(refuses, last);
  }
  [[nodiscard]] device::Reading read(int) override { return {}; }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> versions() const override { return {}; }

  bool refuses = false;
  int graphs = 0;
  Work last;

 private:
  std::vector<device::Accelerator> devices_;
};

/// A world of one rank.
bool alone(bool here) { return here; }

core::Batch batch_of(std::initializer_list<double> values) {
  core::Batch batch;
  batch.fields.push_back({"x", at::tensor(values, at::kDouble)});
  batch.samples.resize(values.size());
  batch.keys = at::arange(static_cast<int64_t>(values.size()), at::kLong);
  return batch;
}

struct Body {
  explicit Body(RerunBackend& backend) : last(backend.last) {}
  StepResult operator()(const std::vector<core::Batch>& batches) {
    ++calls;
    StepResult result;
    result.control = at::zeros({}, at::kDouble);
    last = [x = batches[0].at("x"), sum = result.control] { sum.copy_(x.sum()); };
    last();
    return result;
  }
  Work& last;
  int calls = 0;
};

TEST(StepGraphs, TheFirstThreeStepsOfAShapeAreEagerThenItIsRecordedAndRepeated) {
  RerunBackend backend;
  StepGraphs graphs(backend, 0, StepGraphs::Mode::automatic, alone);
  Body body(backend);
  const auto run = [&](const std::vector<core::Batch>& batches) { return graphs.run(batches, batches[0].size(), [&](const auto& b) { return body(b); }, [] { return true; }); };
  for (int step = 0; step < 3; ++step) {
    EXPECT_FALSE(graphs.repeats({batch_of({1, 2})}, 2));
    EXPECT_EQ(run({batch_of({1, 2})}).control.item<double>(), 3);
  }
  EXPECT_EQ(backend.graphs, 0);
  EXPECT_TRUE(graphs.repeats({batch_of({5, 6})}, 2));
  EXPECT_EQ(run({batch_of({5, 6})}).control.item<double>(), 11);
  EXPECT_EQ(run({batch_of({7, 8})}).control.item<double>(), 15);
  EXPECT_EQ(backend.graphs, 1);
  EXPECT_EQ(body.calls, 4) << "the body's host code runs no more";
}

TEST(StepGraphs, EachShapeHasItsOwnGraphAndARareShapeStaysEager) {
  RerunBackend backend;
  StepGraphs graphs(backend, 0, StepGraphs::Mode::automatic, alone);
  Body body(backend);
  const auto run = [&](const std::vector<core::Batch>& batches) { return graphs.run(batches, batches[0].size(), [&](const auto& b) { return body(b); }, [] { return true; }); };
  for (int step = 0; step < 5; ++step) (void)run({batch_of({1, 2})});
  EXPECT_EQ(run({batch_of({4})}).control.item<double>(), 4);
  EXPECT_EQ(run({batch_of({5, 6})}).control.item<double>(), 11);
  EXPECT_EQ(backend.graphs, 1);
  for (int step = 0; step < 4; ++step) EXPECT_EQ(run({batch_of({9})}).control.item<double>(), 9);
  EXPECT_EQ(backend.graphs, 2);
}

TEST(StepGraphs, WhatWasRecordedIsRepeatedAlsoWhenAnotherShapeCannotBe) {
  RerunBackend backend;
  StepGraphs graphs(backend, 0, StepGraphs::Mode::automatic, alone);
  Body body(backend);
  const auto run = [&](const core::Batch& batch) {
    return graphs.run({batch}, batch.size(), [&](const auto& b) { return body(b); }, [] { return true; }).control.item<double>();
  };
  for (int step = 0; step < 4; ++step) (void)run(batch_of({1, 2}));
  backend.refuses = true;
  for (int step = 0; step < 5; ++step) EXPECT_EQ(run(batch_of({9})), 9);
  EXPECT_EQ(backend.graphs, 2);
  EXPECT_TRUE(graphs.repeats({batch_of({1, 2})}, 2));
  EXPECT_FALSE(graphs.repeats({batch_of({9})}, 1));
}

TEST(StepGraphs, ShapesAreThoseOfAllRanks) {
  RerunBackend backend;
  Body body(backend);
  StepGraphs full(backend, 0, StepGraphs::Mode::automatic, alone), empty(backend, 0, StepGraphs::Mode::automatic, alone);
  const auto run = [&](StepGraphs& graphs, const core::Batch& batch, int64_t samples) {
    const bool repeats = graphs.repeats({batch}, samples);
    (void)graphs.run({batch}, samples, [&](const auto& b) { return body(b); }, [] { return true; });
    return repeats;
  };
  // Each third step is the last of an epoch: 2 samples, which one rank gets and the other does not.
  for (int step = 0; step < 20; ++step) {
    const bool last = step % 3 == 2;
    const bool here = run(full, batch_of({1, 2}), last ? 2 : 4);
    EXPECT_EQ(here, run(empty, last ? batch_of({}) : batch_of({1, 2}), last ? 2 : 4)) << "step " << step;
    EXPECT_EQ(here, last ? step > 9 : step > 3) << "step " << step;
  }
}

TEST(StepGraphs, WhereOneRankCannotRecordAllStayEager) {
  RerunBackend backend;
  Body body(backend);
  int asked = 0;
  StepGraphs graphs(backend, 0, StepGraphs::Mode::automatic, [&](bool here) {
    EXPECT_TRUE(here) << "it was recorded here";
    ++asked;
    return false;
  });
  for (int step = 0; step < 6; ++step)
    EXPECT_EQ(graphs.run({batch_of({1, 2})}, 2, [&](const auto& b) { return body(b); }, [] { return true; }).control.item<double>(), 3);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(backend.graphs, 1);
  EXPECT_EQ(body.calls, 7) << "once to record, and every step";
}

TEST(StepGraphs, WhatCannotBeRecordedStaysEagerOrIsAnErrorWhereGraphsAreRequired) {
  RerunBackend backend;
  backend.refuses = true;
  Body body(backend);
  StepGraphs automatic(backend, 0, StepGraphs::Mode::automatic, alone);
  for (int step = 0; step < 6; ++step)
    EXPECT_EQ(automatic.run({batch_of({1, 2})}, 2, [&](const auto& b) { return body(b); }, [] { return true; }).control.item<double>(), 3);
  EXPECT_EQ(backend.graphs, 1) << "it is tried once";
  EXPECT_EQ(body.calls, 6);

  StepGraphs required(backend, 0, StepGraphs::Mode::required, alone);
  for (int step = 0; step < 3; ++step) (void)required.run({batch_of({1, 2})}, 2, [&](const auto& b) { return body(b); }, [] { return true; });
  try {
    (void)required.run({batch_of({1, 2})}, 2, [&](const auto& b) { return body(b); }, [] { return true; });
    FAIL() << "it was recorded";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::environment);
  }

  StepGraphs stuck(backend, 0, StepGraphs::Mode::automatic, alone);
  const auto run = [&] { (void)stuck.run({batch_of({1, 2})}, 2, [&](const auto& b) { return body(b); }, [] { return false; }); };
  for (int step = 0; step < 3; ++step) run();
  EXPECT_THROW(run(), Error) << "what the body had begun cannot be taken back";
}

}  // namespace
}  // namespace trireme::trainer
