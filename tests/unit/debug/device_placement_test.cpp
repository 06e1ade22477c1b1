#include <trireme/core/error.h>

#include "debug/copy_counter.h"
#include "debug/side_scope.h"
#include "unit/debug/training.h"

#include <thread>

#include <ATen/ThreadLocalState.h>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const at::TensorOptions elsewhere(at::kMeta);

TEST(DevicePlacement, FindsWhatLiesElsewhere) {
  Chain chain;
  Training run(chain);
  run.subject.parameters.push_back({"lost.weight", at::empty({5}, elsewhere).requires_grad_()});
  run.subject.buffers.push_back({"lost.mean", at::empty({3}, elsewhere)});
  run.on(Switch::device_placement);
  core::Batch batch;
  batch.fields = {{"image", at::ones({2, 3})}, {"label", at::empty({2}, elsewhere)}};
  batch.samples = {0, 1};
  run.run(Training::Step{.losses = {[&] {
                           return chain.loss(chain_input());
                         }},
                         .batches = {batch}});
  EXPECT_THAT(
      run.notes.findings,
      Contains("the parameter 'lost.weight' lies on meta, while this rank computes on cpu"));
  EXPECT_THAT(run.notes.findings,
              Contains("the buffer 'lost.mean' lies on meta, while this rank computes on cpu"));
  EXPECT_THAT(
      run.notes.findings,
      Contains("the field of the batch 'label' lies on meta, while this rank computes on cpu"));
  EXPECT_EQ(run.notes.findings.size(), 3U);
  const json devices = run.notes.with("parameters").at(0);
  EXPECT_EQ(devices["parameters"]["cpu"], 3 * 42);
  EXPECT_EQ(devices["parameters"]["meta"], 5);
  EXPECT_EQ(run.digest()["elsewhere"], 3);
}

TEST(DevicePlacement, SeesInputsOfUnitsAndCopies) {
  autograd::Unit unit("head", [](const autograd::BuildContext& c) {
    struct Head final : autograd::Block {
      explicit Head(const autograd::BuildContext& context) : Block(context) {}
      Tensors forward(const Tensors& inputs) override { return {inputs[0].to(at::kMeta)}; }
    };
    return std::make_unique<Head>(c);
  });
  unit.build({});
  Training run({&unit}, {});
  run.on(Switch::device_placement);
  const auto loss = [&] {
    (void)unit(at::empty({2, 2}, elsewhere));
    (void)unit(at::ones({2, 3}));
    return at::ones({}).requires_grad_() * 1.0;
  };
  run.run(loss);
  EXPECT_THAT(run.notes.findings,
              Contains("the input of unit 'head' lies on meta, while this rank computes on cpu"));
  const json digest = run.digest();
  ASSERT_EQ(digest["copies"].size(), 1U);
  EXPECT_EQ(digest["copies"][0],
            (json{{"from", "cpu"}, {"to", "meta"}, {"copies", 1}, {"bytes", 24}}));
  EXPECT_EQ(digest["host_reads"], 0);
}

TEST(DevicePlacement, DoesNothingMoreOnceSilenced) {
  autograd::Unit unit("head", [](const autograd::BuildContext& c) {
    struct Head final : autograd::Block {
      explicit Head(const autograd::BuildContext& context) : Block(context) {}
      Tensors forward(const Tensors& inputs) override { return inputs; }
    };
    return std::make_unique<Head>(c);
  });
  unit.build({});
  Training run({&unit}, {});
  run.on(Switch::device_placement);
  run.tools[0]->begin_step({1, true});
  run.tools[0]->silence();
  const size_t before = run.notes.records.size();
  (void)unit(at::empty({2, 2}, elsewhere));
  EXPECT_EQ(run.notes.records.size(), before);
  EXPECT_THAT(run.notes.findings, IsEmpty());
}

TEST(DevicePlacement, RecordsNothingOfAStepInWhichItFailed) {
  struct Full final : Journal {
    void record(json fields) override {
      if (fields.contains("unit")) throw Error(ErrorKind::storage, "full", "");
      kept.push_back(std::move(fields));
    }
    void finding(const std::string&) override {}
    std::vector<json> kept;
  } full;
  autograd::Unit unit("head", [](const autograd::BuildContext& c) {
    struct Head final : autograd::Block {
      explicit Head(const autograd::BuildContext& context) : Block(context) {}
      Tensors forward(const Tensors& inputs) override { return inputs; }
    };
    return std::make_unique<Head>(c);
  });
  unit.build({});
  Training run({&unit}, {});
  const auto tool = make_tool(Switch::device_placement, run.subject, full);
  tool->begin_step({1, true});
  (void)unit(at::empty({2, 2}, elsewhere));
  EXPECT_THROW(tool->end_step(), Error);
  EXPECT_EQ(full.kept.size(), 1U) << "only what was recorded before";
}

TEST(DevicePlacement, IsQuietWhereAllIsInItsPlace) {
  Chain chain;
  Training run(chain);
  run.on(Switch::device_placement);
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_THAT(run.notes.findings, IsEmpty());
  EXPECT_EQ(run.digest()["copies"].size(), 0U);
}

TEST(CopyCounter, CountsWhileItLives) {
  const at::Tensor there = at::empty({4}, elsewhere);
  {
    CopyCounter counter;
    there.copy_(at::ones({4}));
    at::ones({4}).copy_(at::zeros({4}));
    {
      const SideScope aside;
      const SideScope within;
      there.copy_(at::ones({4}));
    }
    there.copy_(at::ones({4}));
    ASSERT_EQ(counter.copies().size(), 1U);
    EXPECT_EQ(counter.copies().begin()->second.copies, 2) << "what tools do is not counted";
  }
  EXPECT_FALSE(at::hasThreadLocalCallbacks());
  CopyCounter next;
  EXPECT_TRUE(next.copies().empty());
}

/// As autograd's threads of devices do.
void copy_on_a_thread_that_works_for_this_one() {
  std::thread([state = at::ThreadLocalState()] {
    const at::ThreadLocalStateGuard guard(state);
    at::empty({4}, elsewhere).copy_(at::ones({4}));
  }).join();
}

TEST(CopyCounter, CountsWhatOtherThreadsDoForIt) {
  CopyCounter counter;
  copy_on_a_thread_that_works_for_this_one();
  ASSERT_EQ(counter.copies().size(), 1U);
  EXPECT_EQ(counter.copies().begin()->second.copies, 1);
  // Whose it is cannot be told of several.
  std::thread([] {
    CopyCounter other;
    copy_on_a_thread_that_works_for_this_one();
    EXPECT_TRUE(other.copies().empty());
  }).join();
  copy_on_a_thread_that_works_for_this_one();
  EXPECT_EQ(counter.copies().begin()->second.copies, 2);
}

}  // namespace
}  // namespace trireme::debug
