#include <trireme/data/loader.h>
#include <trireme/data/open.h>

#include "unit/data/files.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::data {
namespace {

using testing::error_of;

/// Sample s is the number s; some samples are bad, and reading can be held up.
class Numbers final : public Dataset {
 public:
  explicit Numbers(int64_t n) : n_(n) {}
  [[nodiscard]] int64_t size() const override { return n_; }
  [[nodiscard]] core::Batch read(std::span<const int64_t> ids) const override {
    ++reads;
    core::Batch batch;
    batch.samples.assign(ids.begin(), ids.end());
    for (const int64_t id : ids)
      if (bad.contains(id)) throw Error(ErrorKind::data_damaged, "sample " + std::to_string(id));
    std::unique_lock lock(mutex_);
    open_.wait(lock, [&] { return !held_; });
    batch.fields.push_back({"x", at::tensor(batch.samples, at::kLong)});
    return batch;
  }
  [[nodiscard]] std::vector<std::pair<std::string, int64_t>> properties() const override {
    return {};
  }
  [[nodiscard]] std::string fingerprint() const override { return "numbers"; }

  void hold(bool on) {
    const std::lock_guard lock(mutex_);
    held_ = on;
    open_.notify_all();
  }
  std::set<int64_t> bad;
  mutable std::atomic<int> reads{0};

 private:
  int64_t n_;
  mutable std::mutex mutex_;
  mutable std::condition_variable open_;
  bool held_ = false;
};

Sampler sampler(int64_t n, int64_t global) {
  return Sampler({.samples = n, .global_batch = global, .seed = 4});
}

TEST(Loader, OrderDoesNotDependOnTheNumberOfWorkers) {
  const auto data = std::make_shared<Numbers>(23);
  const Sampler s = sampler(23, 7);
  for (int64_t workers = 0; workers <= 4; ++workers)
    for (const int64_t prefetch : {0, 1, 5}) {
      Loader loader(data, s, {}, {.batch_size = 3, .workers = workers, .prefetch = prefetch});
      int64_t position = 0;
      for (int step = 0; step < 20; ++step) {
        const GlobalBatch expected = s.next(position);
        const auto batch = loader.next();
        ASSERT_TRUE(batch.has_value());
        ASSERT_EQ(batch->global, expected);
        ASSERT_EQ(batch->micro_batches.size(), 3U);
        int64_t k = 0;
        for (const auto& micro : batch->micro_batches)
          for (int64_t i = 0; i < micro.size(); ++i, ++k) {
            ASSERT_EQ(micro.samples[static_cast<size_t>(i)],
                      s.sample(expected.epoch, expected.first + k));
            ASSERT_EQ(micro.at("x")[i].item<int64_t>(), micro.samples[static_cast<size_t>(i)]);
          }
        ASSERT_EQ(k, expected.count);
        position = expected.position_after;
        ASSERT_EQ(loader.position(), position);
      }
    }
}

TEST(Loader, EachBatchLeavesASpanOnTheThreadThatLoadedIt) {
  const auto data = std::make_shared<Numbers>(20);
  for (const int64_t workers : {0, 2}) {
    telemetry::Recorder recorder;
    {
      LoaderSettings settings{.batch_size = 2, .workers = workers, .end = 20, .recorder = &recorder};
      Loader loader(data, sampler(20, 4), {}, settings);
      while (loader.next()) {}
    }
    const std::vector<std::string> names = recorder.spans().thread_names();
    const auto spans = recorder.spans().drain();
    EXPECT_EQ(spans.size(), 5U);
    for (const auto& span : spans) {
      EXPECT_STREQ(span.name, "load_batch");
      EXPECT_EQ(span.category, telemetry::Category::data_loading);
      const std::string& thread = names.at(static_cast<size_t>(span.thread));
      EXPECT_THAT(thread, ::testing::StartsWith(workers == 0 ? "thread" : "loader"));
    }
  }
}

TEST(Loader, RanksTogetherSeeTheGlobalBatchInOrder) {
  const auto data = std::make_shared<Numbers>(29);
  const Sampler s = sampler(29, 12);
  std::vector<std::unique_ptr<Loader>> loaders;
  for (int64_t r = 0; r < 3; ++r)
    loaders.push_back(std::make_unique<Loader>(
        data, s, TransformChain(),
        LoaderSettings{.rank = r, .ranks = 3, .batch_size = 2, .workers = 1}));
  int64_t position = 0;
  for (int step = 0; step < 9; ++step) {
    const GlobalBatch global = s.next(position);
    position = global.position_after;
    std::vector<LoadedBatch> batches;
    for (auto& loader : loaders) batches.push_back(*loader->next());
    std::vector<int64_t> seen;
    for (size_t m = 0; m < 2; ++m)
      for (auto& batch : batches) {
        ASSERT_EQ(batch.micro_batches.size(), 2U);
        const auto& ids = batch.micro_batches[m].samples;
        seen.insert(seen.end(), ids.begin(), ids.end());
        EXPECT_EQ(batch.micro_batches[m].random.value(),
                  batches[0].micro_batches[m].random.value());
      }
    std::vector<int64_t> expected(static_cast<size_t>(global.count));
    s.ids(global, {0, global.count}, expected.data());
    EXPECT_EQ(seen, expected);
  }
}

TEST(Loader, RandomKeysAreOfTheGlobalBatchNotOfTheLayout) {
  Loader loader(std::make_shared<Numbers>(8), sampler(8, 4), {}, {.batch_size = 2, .workers = 0});
  std::set<uint64_t> keys;
  for (int step = 0; step < 6; ++step) {
    const LoadedBatch batch = loader.next().value();
    for (const auto& micro : batch.micro_batches) keys.insert(micro.random.value());
  }
  EXPECT_EQ(keys.size(), 6U);
}

TEST(Loader, ResumesAtAnyPosition) {
  const auto data = std::make_shared<Numbers>(20);
  const Sampler s = sampler(20, 6);
  Loader whole(data, s, {}, {.batch_size = 6, .workers = 0});
  for (int step = 0; step < 12; ++step) {
    Loader resumed(data, s, {}, {.batch_size = 6, .workers = 2}, whole.position());
    const auto a = whole.next();
    const auto b = resumed.next();
    EXPECT_EQ(a->global, b->global);
    EXPECT_EQ(a->micro_batches[0].samples, b->micro_batches[0].samples);
    EXPECT_EQ(a->micro_batches[0].random.value(), b->micro_batches[0].random.value());
  }
}

TEST(Loader, ErrorsComeInTheirPlaceAndTheRestGoesOn) {
  for (int64_t workers = 0; workers <= 4; ++workers) {
    const auto data = std::make_shared<Numbers>(40);
    data->bad = {9, 20};
    const Sampler s({.samples = 40, .global_batch = 4, .shuffle = false});
    Loader loader(data, s, {}, {.batch_size = 4, .workers = workers});
    for (int64_t step = 0; step < 10; ++step) {
      if (step == 2 || step == 5) {
        const Error error = error_of([&] { (void)loader.next(); });
        EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
        EXPECT_EQ(error.message(), step == 2 ? "sample 9" : "sample 20");
      } else {
        EXPECT_EQ(loader.next()->micro_batches[0].samples[0], step * 4);
      }
      EXPECT_EQ(loader.position(), step * 4 + 4);
    }
  }
}

TEST(Loader, LoadsAheadButNotFurtherThanItMay) {
  const auto data = std::make_shared<Numbers>(100);
  Loader loader(data, sampler(100, 2), {}, {.batch_size = 2, .workers = 3, .prefetch = 4});
  (void)loader.next();
  while (data->reads < 5) std::this_thread::yield();  // the one taken and four ahead
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  EXPECT_LE(data->reads, 5);
}

TEST(Loader, EndsWhileWorkersWaitAndWhileTheyRead) {
  const auto data = std::make_shared<Numbers>(100);
  { Loader unused(data, sampler(100, 2), {}, {.batch_size = 2, .workers = 2}); }
  auto loader = std::make_unique<Loader>(data, sampler(100, 2), TransformChain(),
                                         LoaderSettings{.batch_size = 2, .workers = 2});
  (void)loader->next();
  data->hold(true);
  std::thread release([&] { data->hold(false); });
  loader.reset();
  release.join();
}

TEST(Loader, RestartDropsWhatWasLoadedAhead) {
  const auto data = std::make_shared<Numbers>(50);
  const Sampler s({.samples = 50, .global_batch = 5, .shuffle = false});
  Loader loader(data, s, {}, {.batch_size = 5, .workers = 3});
  (void)loader.next();
  (void)loader.next();
  for (int i = 0; i < 50; ++i) {
    loader.restart(25);
    ASSERT_EQ(loader.next()->micro_batches[0].samples[0], 25);
    ASSERT_EQ(loader.next()->micro_batches[0].samples[0], 30);
    loader.restart(0);
    ASSERT_EQ(loader.next()->micro_batches[0].samples[0], 0);
  }
}

TEST(Loader, CountsSamplesBytesAndTime) {
  Loader loader(std::make_shared<Numbers>(10), sampler(10, 4), {},
                {.ranks = 2, .batch_size = 2, .workers = 1});
  for (int i = 0; i < 3; ++i) (void)loader.next();
  const LoaderCounters counters = loader.counters();
  EXPECT_EQ(counters.batches, 3);
  EXPECT_EQ(counters.samples, 2 + 2 + 2);  // rank 0 has both samples of the short batch
  EXPECT_EQ(counters.bytes, 6 * 8);
  EXPECT_GT(counters.wait_ns, 0);
  EXPECT_GT(counters.load_ns, 0);
}

TEST(Loader, HoldsNothingOnceEverythingWasHandedOut) {
  Loader loader(std::make_shared<Numbers>(12), sampler(12, 4), {},
                {.batch_size = 4, .workers = 2, .end = 12});
  while (loader.next()) EXPECT_GE(loader.counters().held_bytes, 0);
  EXPECT_EQ(loader.counters().held_bytes, 0);
}

TEST(Loader, PlacesEveryTensorInTheLoadingThread) {
  for (const int64_t workers : {0, 2}) {
    std::atomic<int> placed{0};
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> elsewhere{true};
    Loader loader(std::make_shared<Numbers>(10), sampler(10, 4), {},
                  {.batch_size = 2, .workers = workers, .place = [&](const at::Tensor& values) {
                     ++placed;
                     elsewhere = elsewhere && std::this_thread::get_id() != caller;
                     return values + 100;
                   }});
    const auto batch = loader.next();
    EXPECT_EQ(batch->micro_batches[0].at("x")[0].item<int64_t>(),
              batch->micro_batches[0].samples[0] + 100);
    EXPECT_GE(placed, 2);
    EXPECT_EQ(elsewhere, workers > 0);
  }
}

TEST(EvaluationLoader, EverySampleOnceOverAllRanksInEveryPass) {
  for (int64_t n = 1; n <= 15; ++n)
    for (int64_t ranks = 1; ranks <= 4; ++ranks)
      for (const bool persistent : {true, false}) {
        const auto data = std::make_shared<Numbers>(n);
        std::vector<std::unique_ptr<Loader>> loaders;
        for (int64_t r = 0; r < ranks; ++r)
          loaders.push_back(evaluation_loader(data, {},
                                              {.rank = r,
                                               .ranks = ranks,
                                               .batch_size = 2,
                                               .workers = r % 3,
                                               .persistent_workers = persistent}));
        for (int pass = 0; pass < 2; ++pass) {
          std::multiset<int64_t> seen;
          std::set<int64_t> batches;
          for (auto& loader : loaders) {
            loader->restart(0);
            int64_t count = 0;
            while (const auto batch = loader->next()) {
              ASSERT_EQ(batch->micro_batches.size(), 1U);
              seen.insert(batch->micro_batches[0].samples.begin(),
                          batch->micro_batches[0].samples.end());
              ++count;
            }
            EXPECT_FALSE(loader->next().has_value());
            batches.insert(count);
          }
          EXPECT_EQ(batches.size(), 1U);  // all ranks take the same number of steps
          ASSERT_EQ(static_cast<int64_t>(seen.size()), n);
          EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), static_cast<size_t>(n));
        }
      }
}

TEST(Synthetic, IsAFunctionOfTheSample) {
  const auto a = open_dataset({"synthetic:tokens?n=100&vocab=11&length=8&seed=3"}, std::nullopt);
  const auto b = open_dataset({"synthetic:tokens?n=200&vocab=11&length=8&seed=3"}, std::nullopt);
  EXPECT_EQ(a->size(), 100);
  const core::Batch batch = a->read(std::vector<int64_t>{99, 5});
  EXPECT_TRUE(at::equal(batch.at("tokens")[1], b->read(std::vector<int64_t>{5}).at("tokens")[0]));
  EXPECT_TRUE(at::equal(batch.at("tokens").slice(1, 1), batch.at("targets").slice(1, 0, 7)));
  EXPECT_LT(batch.at("targets").max().item<int64_t>(), 11);
  EXPECT_NE(a->fingerprint(), b->fingerprint());
  EXPECT_EQ(open_dataset({"synthetic:tokens?length=8"}, 16)
                ->read(std::vector<int64_t>{0})
                .at("tokens")
                .size(1),
            16);
}

TEST(Synthetic, ImagesHaveLabels) {
  const auto data =
      open_dataset({"synthetic:image?n=50&classes=3&channels=2&size=6"}, std::nullopt);
  std::vector<int64_t> ids(50);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  const core::Batch batch = data->read(ids);
  EXPECT_EQ(batch.at("image").sizes(), (at::IntArrayRef{50, 2, 6, 6}));
  EXPECT_EQ(batch.at("image").scalar_type(), at::kByte);
  EXPECT_EQ(std::get<0>(at::_unique(batch.at("label"))).numel(), 3);
}

TEST(Synthetic, UnknownKindsAndSettingsAreRefused) {
  for (const char* name :
       {"synthetic:text", "synthetic:tokens?n=0", "synthetic:tokens?m=1", "synthetic:tokens?n",
        "synthetic:tokens?n=1x", "synthetic:image?vocab=2", "synthetic:tokens?n=-5"})
    EXPECT_EQ(error_of([&] { (void)open_dataset({name}, std::nullopt); }).kind(),
              ErrorKind::configuration)
        << name;
}

}  // namespace
}  // namespace trireme::data
