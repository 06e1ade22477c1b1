#include <trireme/core/error.h>

#include "unit/debug/training.h"
#include "unit/parallel/small_network.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/anomaly_mode.h>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::IsEmpty;

std::vector<Switch> all_tools() {
  std::vector<Switch> all;
  for (size_t i = 0; i < switch_count; ++i)
    if (!is_profiler(static_cast<Switch>(i))) all.push_back(static_cast<Switch>(i));
  return all;
}

core::Batch batch_of(int step) {
  core::Batch batch;
  batch.fields = {{"tokens", parallel::tokens(0, step)}};
  batch.samples = {0, 1, 2, 3, 4};
  return batch;
}

/// Losses and parameters of 5 steps of two micro-steps, and what the default generator gives next.
Tensors results(const std::vector<Switch>& tools, at::ScalarType type, bool recompute) {
  parallel::SmallNetwork network(type);
  network.build();
  if (recompute)
    for (int i = 0; i < 3; ++i)
      network.layer(i).set_activations({.recompute = autograd::Unit::Activations::Recompute::all});
  Training run(network.units(), network.parameters());
  for (const Switch which : tools) run.on(which);
  at::manual_seed(4);
  Tensors all;
  for (int step = 0; step < 5; ++step) {
    const auto micro = [&](int m) {
      return [&, m, step] {
        return network.loss(parallel::tokens(0, 2 * step + m));
      };
    };
    all.push_back(run.run(Training::Step{.losses = {micro(0), micro(1)},
                                         .scale = 4,
                                         .lr = 0.01,
                                         .looks = step != 3,
                                         .batches = {batch_of(step)}}));
    for (const auto& tool : run.tools) (void)tool->digest();
  }
  for (const core::Parameter& p : run.subject.parameters) all.push_back(p.tensor.detach());
  all.push_back(at::rand({3}));
  EXPECT_EQ(tools.empty(), run.notes.records.empty());
  return all;
}

TEST(Tools, ChangeNoBitOfTheTraining) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const bool recompute : {false, true}) {
      const Tensors with = results(all_tools(), type, recompute),
                    without = results({}, type, recompute);
      ASSERT_EQ(with.size(), without.size());
      for (size_t i = 0; i < with.size(); ++i)
        EXPECT_TRUE(at::equal(with[i], without[i])) << i << type << recompute;
    }
}

TEST(Tools, LeaveNothingBehind) {
  Chain chain;
  Training run(chain);
  for (const Switch which : all_tools()) run.on(which);
  const auto loss = [&] {
    return chain.loss(chain_input());
  };
  run.run(loss);
  for (const auto& tool : run.tools) tool->begin_step({2, true});
  run.tools.clear();  // in the midst of a step, as after an error
  run.notes.records.clear();
  EXPECT_FALSE(torch::autograd::AnomalyMode::is_enabled());
  EXPECT_FALSE(at::hasThreadLocalCallbacks());
  autograd::backward(loss());
  EXPECT_THAT(run.notes.records, IsEmpty());
  EXPECT_THAT(run.notes.findings, IsEmpty());
}

TEST(Tools, WhatTheyThrowInBackwardComesOutBetweenThePasses) {
  struct Full final : Journal {
    void record(json) override { throw Error(ErrorKind::plugin_failed, "the disk is full", ""); }
    void finding(const std::string&) override {}
  } full;
  Chain chain;
  chain.then["h.0"] = [](const at::Tensor& y) {
    return y + at::empty({}, at::TensorOptions(at::kMeta)).numel();
  };
  Training run(chain);
  run.on(Switch::forward_pass);
  run.tools[0] = make_tool(Switch::forward_pass, run.subject, full);
  EXPECT_THROW(run.run([&] { return chain.loss(chain_input()); }), Error);
}

TEST(Tools, SayWhetherTheyReadGradients) {
  Chain chain;
  Training run(chain);
  std::vector<std::string_view> readers;
  for (const Switch which : all_tools())
    if (make_tool(which, run.subject, run.notes)->reads_gradients())
      readers.push_back(name_of(which));
  EXPECT_THAT(readers,
              testing::UnorderedElementsAre("autograd_anomaly", "memory_usage", "gradient_norms",
                                            "forward_pass", "backward_pass", "mixed_precision"));
}

/// Those that say they do not are not told of gradients where the step leaves that out.
TEST(Tools, DigestTheSameWithoutGradientsWhereTheyReadNone) {
  for (const Switch which : all_tools()) {
    Chain chain;
    Training run(chain);
    run.on(which);
    if (run.tools[0]->reads_gradients()) continue;
    const size_t before = run.notes.records.size();
    run.tools[0]->gradients({});
    run.tools[0]->updated({});
    EXPECT_EQ(run.notes.records.size(), before) << name_of(which);
  }
}

TEST(Tools, ProfilersAreNone) {
  Notes notes;
  const Subject subject;
  EXPECT_ANY_THROW((void)make_tool(Switch::autograd_profiler, subject, notes));
}

}  // namespace
}  // namespace trireme::debug
