#include <trireme/data/transforms.h>

#include "unit/data/files.h"

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::data {
namespace {

using testing::error_of;

/// Images of [2, 5, 6] whose pixels tell sample and place.
core::Batch images(const std::vector<int64_t>& ids, at::ScalarType type = at::kByte) {
  core::Batch batch;
  batch.samples = ids;
  at::Tensor image = at::empty({static_cast<int64_t>(ids.size()), 2, 5, 6}, type);
  for (size_t i = 0; i < ids.size(); ++i)
    image[static_cast<int64_t>(i)] =
        (at::arange(60).view({2, 5, 6}) * 3 + 1 + ids[i] * 7).remainder(256).to(type);
  batch.fields = {{"image", image}, {"label", at::tensor(ids, at::kLong)}};
  return batch;
}

TransformConfig normalize(std::vector<double> mean, std::vector<double> deviation) {
  return {.name = "normalize", .mean = std::move(mean), .std = std::move(deviation)};
}
TransformConfig crop(int64_t padding) {
  return {.name = "random_crop", .padding = padding};
}
TransformConfig flip() {
  return {.name = "flip"};
}

TEST(Normalize, OfBytesIsAfterDivisionBy255) {
  core::Batch batch = images({3, 8});
  const at::Tensor before = batch.at("image").to(at::kFloat);
  TransformChain({normalize({0.25, 0.5}, {0.5, 2.0})}, true).apply(batch, 1, 0);
  const at::Tensor mean = at::tensor({0.25F, 0.5F}).view({2, 1, 1});
  const at::Tensor deviation = at::tensor({0.5F, 2.0F}).view({2, 1, 1});
  EXPECT_EQ(batch.at("image").scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(batch.at("image"), (before / 255 - mean) / deviation, 1e-6, 1e-6));
  EXPECT_EQ(batch.at("label")[1].item<int64_t>(), 8);
}

TEST(Normalize, OfFloatsTakesThemAsTheyAre) {
  core::Batch batch = images({3}, at::kFloat);
  const at::Tensor before = batch.at("image").clone();
  TransformChain({normalize({2}, {4})}, false).apply(batch, 1, 0);
  EXPECT_TRUE(at::allclose(batch.at("image"), (before - 2) / 4));
}

TEST(RandomCrop, ShiftsOverZeros) {
  for (const auto type : {at::kByte, at::kFloat}) {
    int64_t moved = 0;
    for (int64_t id = 0; id < 40; ++id) {
      core::Batch batch = images({id}, type);
      const at::Tensor padded = at::constant_pad_nd(batch.at("image"), {2, 2, 2, 2});
      const at::Tensor before = batch.at("image").clone();
      TransformChain({crop(2)}, true).apply(batch, 1, 0);
      int found = 0;
      for (int64_t y = 0; y <= 4; ++y)
        for (int64_t x = 0; x <= 4; ++x)
          found += at::equal(batch.at("image"), padded.slice(2, y, y + 5).slice(3, x, x + 6));
      EXPECT_GE(found, 1);
      moved += !at::equal(batch.at("image"), before);
    }
    EXPECT_GT(moved, 30);
  }
}

TEST(RandomCrop, MayBeWiderThanTheImage) {
  core::Batch batch = images({0, 1, 2, 3, 4, 5, 6, 7});
  TransformChain({crop(20)}, true).apply(batch, 1, 0);
  EXPECT_EQ(batch.at("image").sizes(), (at::IntArrayRef{8, 2, 5, 6}));
}

TEST(Flip, MirrorsAboutHalfOfTheSamples) {
  int64_t mirrored = 0;
  for (int64_t id = 0; id < 200; ++id) {
    core::Batch batch = images({id});
    const at::Tensor before = batch.at("image").clone();
    TransformChain({flip()}, true).apply(batch, 1, 0);
    const bool is_mirror = at::equal(batch.at("image"), before.flip(3));
    EXPECT_TRUE(is_mirror || at::equal(batch.at("image"), before));
    mirrored += is_mirror;
  }
  EXPECT_NEAR(static_cast<double>(mirrored), 100, 30);
}

TEST(Transforms, DependOnTheSampleNotOnItsCompany) {
  const TransformChain chain({crop(2), flip(), normalize({0.5}, {0.5})}, true);
  core::Batch together = images({4, 9, 2, 7});
  chain.apply(together, 5, 3);
  for (int64_t i = 0; i < 4; ++i) {
    core::Batch alone = images({together.samples[static_cast<size_t>(i)]});
    chain.apply(alone, 5, 3);
    EXPECT_TRUE(at::equal(alone.at("image")[0], together.at("image")[i]));
  }
}

TEST(Transforms, DifferByEpochAndSeed) {
  const TransformChain chain({crop(2)}, true);
  const std::vector<int64_t> ids{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const auto result = [&](uint64_t seed, int64_t epoch) {
    core::Batch batch = images(ids);
    chain.apply(batch, seed, epoch);
    return batch.at("image");
  };
  EXPECT_TRUE(at::equal(result(1, 0), result(1, 0)));
  EXPECT_FALSE(at::equal(result(1, 0), result(1, 1)));
  EXPECT_FALSE(at::equal(result(1, 0), result(2, 0)));
}

TEST(Transforms, EvaluationLeavesOutTheRandomOnes) {
  core::Batch batch = images({1, 2, 3, 4, 5, 6});
  const at::Tensor before = batch.at("image").clone();
  TransformChain({crop(3), flip()}, false).apply(batch, 1, 0);
  EXPECT_TRUE(at::equal(batch.at("image"), before));
}

TEST(Transforms, EmptyBatchesPass) {
  core::Batch batch = images({});
  TransformChain({crop(1), flip(), normalize({0}, {1})}, true).apply(batch, 1, 0);
  EXPECT_EQ(batch.at("image").sizes(), (at::IntArrayRef{0, 2, 5, 6}));
  EXPECT_EQ(batch.at("image").scalar_type(), at::kFloat);
}

TEST(Transforms, WrongSettingsAreRefused) {
  const std::vector<TransformConfig> bad{normalize({}, {1}),
                                         normalize({0}, {}),
                                         normalize({0}, {0}),
                                         crop(0),
                                         {.name = "flip", .padding = 1},
                                         {.name = "flip", .mean = {1}},
                                         {.name = "rotate"}};
  for (const auto& config : bad) {
    const Error error = error_of([&] { (void)TransformChain({config}, true); });
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.message(), ::testing::HasSubstr("data.transforms"));
  }
}

TEST(Transforms, DataThatDoesNotFitIsRefused) {
  core::Batch tokens;
  tokens.fields = {{"tokens", at::zeros({1, 4}, at::kLong)}};
  tokens.samples = {0};
  EXPECT_EQ(error_of([&] { TransformChain({flip()}, true).apply(tokens, 1, 0); }).kind(),
            ErrorKind::configuration);
  core::Batch batch = images({1});
  EXPECT_EQ(error_of([&] {
              TransformChain({normalize({1, 2, 3}, {1})}, true).apply(batch, 1, 0);
            }).kind(),
            ErrorKind::configuration);
  batch.fields[0].values = at::zeros({1, 2, 5, 6}, at::kInt);
  EXPECT_EQ(error_of([&] { TransformChain({flip()}, true).apply(batch, 1, 0); }).kind(),
            ErrorKind::configuration);
}

}  // namespace
}  // namespace trireme::data
