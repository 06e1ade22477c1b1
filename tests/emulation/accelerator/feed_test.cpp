#include <trireme/core/error.h>
#include <trireme/ops/dropout.h>

#include "accelerator_test.h"
#include "trainer/device_feed.h"
#include "trainer/step_numbers.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace trireme::emulated {
namespace {

using trainer::DeviceFeed;
using trainer::StepAnswers;
using trainer::StepRequests;

/// Sample i holds i.
class Numbers final : public data::Dataset {
 public:
  [[nodiscard]] int64_t size() const override { return 10; }
  [[nodiscard]] core::Batch read(std::span<const int64_t> ids) const override {
    core::Batch batch;
    batch.samples.assign(ids.begin(), ids.end());
    batch.fields.push_back({"x", at::tensor(batch.samples, at::kLong)});
    return batch;
  }
  [[nodiscard]] std::vector<std::pair<std::string, int64_t>> properties() const override {
    return {};
  }
  [[nodiscard]] std::string fingerprint() const override { return "numbers"; }
};

/// Cannot take sample 7.
class Choosy final : public model::Model {
 public:
  model::LossSums loss(const core::Batch&) override { return {}; }
  [[nodiscard]] std::vector<autograd::Unit*> units() override { return {}; }
  [[nodiscard]] double nominal_weight_per_sample() const override { return 1; }
  void check_batch(const core::Batch& batch) const override {
    if (batch.at("x").eq(7).any().item<bool>()) throw Error(ErrorKind::data_damaged, "a seven");
  }
};

class Feed : public AcceleratorTest {
 protected:
  const data::Sampler sampler_{
      data::Sampler::Settings{.samples = 10, .global_batch = 4, .shuffle = false}};
  data::Loader loader_{
      std::make_shared<Numbers>(), sampler_, data::TransformChain({}, /*training=*/true),
      data::LoaderSettings{.batch_size = 2,
                           .workers = 1,
                           .end = 10,
                           .place = DeviceFeed::place(device_, /*pin_memory=*/true)}};
  Choosy model_;
};

TEST_F(Feed, BatchesArriveOnTheDeviceWithTheirKeysAndTheHostDoesNotWait) {
  DeviceFeed feed(loader_, model_, device_);
  const int64_t before = host_syncs();
  const std::optional<data::LoadedBatch> loaded = feed.next();
  EXPECT_EQ(host_syncs(), before);
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->micro_batches.size(), 2U);
  EXPECT_EQ(loaded->global.position_after, 4) << "not that of the batch that is loaded ahead";
  const core::Batch& batch = loaded->micro_batches[1];
  EXPECT_TRUE(same_bits(batch.at("x"), at::tensor({2, 3}, at::kLong)));
  EXPECT_TRUE(same_bits(batch.keys, ops::sample_keys(batch.random, batch.samples)));
}

TEST_F(Feed, WhatIsWrongWithABatchIsSaidInItsTurn) {
  DeviceFeed feed(loader_, model_, device_);
  EXPECT_TRUE(feed.next()) << "the second batch, which is loaded ahead, is bad";
  try {
    (void)feed.next();
    FAIL() << "a seven was fed";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "a seven");
  }
  const std::optional<data::LoadedBatch> last = feed.next();
  ASSERT_TRUE(last) << "as a loader, it goes on with the batch that follows";
  EXPECT_TRUE(same_bits(last->micro_batches[0].at("x"), at::tensor({8, 9}, at::kLong)));
  EXPECT_EQ(last->micro_batches[1].at("x").size(0), 0);
  EXPECT_FALSE(feed.next());
}

TEST_F(Feed, OnACpuBatchesAreTheLoadersOwn) {
  EXPECT_FALSE(DeviceFeed::place(at::kCPU, true));
  EXPECT_FALSE(DeviceFeed::place(device_, false));
  DeviceFeed feed(loader_, model_, at::kCPU);
  const std::optional<data::LoadedBatch> loaded = feed.next();
  ASSERT_TRUE(loaded);
  EXPECT_TRUE(loaded->micro_batches[0].at("x").is_cpu());
  EXPECT_FALSE(loaded->micro_batches[0].keys.defined());
}

class StepNumbers : public AcceleratorTest {};

TEST_F(StepNumbers, RequestsLieAtOneAddressAndAreSentWithoutWaiting) {
  StepRequests requests(device_);
  const void* const address = requests.lr().const_data_ptr();
  for (int step = 0; step < 9; ++step) {
    const trainer::Contribution::Votes votes{.stop = step == 1, .save = step == 2, .saving = true};
    const int64_t before = host_syncs();
    requests.send(0.5 * step, votes);
    if (step < 4) {
      EXPECT_EQ(host_syncs(), before) << "later ones reuse what was sent before";
    }
    EXPECT_TRUE(same_bits(requests.lr(), at::scalar_tensor(0.5 * step, at::kDouble)));
    EXPECT_TRUE(
        same_bits(requests.votes(),
                  at::tensor({step == 1 ? 1.0 : 0.0, step == 2 ? 1.0 : 0.0, 1.0, 0.0}).to(at::kDouble)));
  }
  EXPECT_EQ(requests.lr().const_data_ptr(), address);
}

TEST_F(StepNumbers, AnswersStayForSevenMoreSteps) {
  StepAnswers answers(device_);
  std::vector<StepAnswers::Answer> kept;
  const ForbidSyncs forbidden;
  for (int step = 0; step < 8; ++step)
    kept.push_back(answers.fetch(at::full({2}, step, at::device(device_).dtype(at::kDouble))));
  for (int step = 0; step < 8; ++step) {
    EXPECT_TRUE(kept[static_cast<size_t>(step)].arrived.reached());
    EXPECT_TRUE(
        at::equal(kept[static_cast<size_t>(step)].values, at::full({2}, step, at::kDouble)));
  }
  (void)answers.fetch(at::full({2}, 8, at::device(device_).dtype(at::kDouble)));
  EXPECT_TRUE(at::equal(kept[0].values, at::full({2}, 8, at::kDouble)));
  EXPECT_EQ(answers.fetch(at::zeros({3}, at::device(device_).dtype(at::kDouble))).values.numel(),
            3);
}

}  // namespace
}  // namespace trireme::emulated
