#include <trireme/config/load.h>
#include <trireme/data/config.h>

#include "unit/data/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::data {
namespace {

using ::testing::ElementsAre;

DataConfig read(const std::string& text) {
  return config::load_text<DataConfig>(text).value;
}

TEST(DataConfig, Defaults) {
  const DataConfig config = read("train: a.h5");
  EXPECT_THAT(config.train, ElementsAre("a.h5"));
  EXPECT_EQ(config.sequence_length, std::nullopt);
  EXPECT_TRUE(config.shuffle);
  EXPECT_EQ(config.last_batch_policy(), LastBatch::keep_short);
  EXPECT_EQ(config.workers, 2);
  EXPECT_TRUE(config.transforms.empty());
}

TEST(DataConfig, Everything) {
  const DataConfig config = read(R"(
train: [a.h5, "b-*.h5"]
eval: c.h5
sequence_length: 64
shuffle: false
last_batch: drop
workers: 0
transforms:
  - {name: normalize, mean: [0.5], std: [0.25]}
  - {name: random_crop, padding: 4}
  - name: flip
)");
  EXPECT_THAT(config.train, ElementsAre("a.h5", "b-*.h5"));
  EXPECT_EQ(config.sequence_length, 64);
  EXPECT_EQ(config.last_batch_policy(), LastBatch::drop);
  ASSERT_EQ(config.transforms.size(), 3U);
  EXPECT_THAT(config.transforms[0].std, ElementsAre(0.25));
  EXPECT_EQ(config.transforms[1].padding, 4);
}

TEST(DataConfig, WrongValuesAreRefused) {
  for (const char* text : {"last_batch: keep", "workers: -1", "sequence_length: 0",
                           "transforms: [{name: blur}]", "prefetch_factor: 2"})
    EXPECT_EQ(testing::error_of([&] { (void)read(text); }).kind(), ErrorKind::configuration)
        << text;
}

TEST(DataConfig, IdentityIsWhatDecidesTheBatches) {
  const auto identity = [](const std::string& text) {
    return config::identity_json(config::load_text<DataConfig>(text).resolved);
  };
  const std::string base = identity("train: a.h5");
  for (const char* free : {"{train: a.h5, workers: 5}", "{train: a.h5, eval: b.h5}"})
    EXPECT_EQ(identity(free), base) << free;
  for (const char* other :
       {"{train: b.h5}", "{train: a.h5, shuffle: false}", "{train: a.h5, last_batch: drop}",
        "{train: a.h5, sequence_length: 8}", "{train: a.h5, transforms: [{name: flip}]}"})
    EXPECT_NE(identity(other), base) << other;
}

}  // namespace
}  // namespace trireme::data
