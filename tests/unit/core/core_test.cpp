#include <trireme/core/batch.h>
#include <trireme/core/error.h>
#include <trireme/core/random.h>
#include <trireme/core/state.h>

#include <set>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::core {
namespace {

TEST(Error, TextIsMessageThenHint) {
  EXPECT_STREQ(Error(ErrorKind::storage, "disk full", "free some").what(), "disk full\nhint: free some");
  EXPECT_STREQ(Error(ErrorKind::storage, "disk full").what(), "disk full");
}

TEST(Error, ExitCodesAreTheDocumentedOnesAndStayBelow126) {
  for (const auto& [kind, code] : std::vector<std::pair<ErrorKind, int>>{
           {ErrorKind::unexpected, 1}, {ErrorKind::usage, 2}, {ErrorKind::configuration, 10}, {ErrorKind::ranks_differ, 11},
           {ErrorKind::environment, 12}, {ErrorKind::input_missing, 20}, {ErrorKind::data_damaged, 21},
           {ErrorKind::plugin_refused, 22}, {ErrorKind::no_checkpoint, 23}, {ErrorKind::model_refused, 24},
           {ErrorKind::plugin_failed, 25}, {ErrorKind::storage, 30}, {ErrorKind::hang, 40}, {ErrorKind::peer_lost, 41},
           {ErrorKind::diverged, 50}, {ErrorKind::out_of_memory, 51}, {ErrorKind::corruption, 52},
           {ErrorKind::stopped, 75}, {ErrorKind::do_not_requeue, 93}}) {
    EXPECT_EQ(static_cast<int>(kind), code) << name_of(kind);
    EXPECT_LT(code, 126);
  }
}

TEST(Check, NamesTheInvariantAndThePlace) {
  try {
    check(false, "two is three");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr("two is three"), testing::HasSubstr("core_test.cpp")));
  }
}

TEST(RandomKey, DependsOnEveryPartAndOnTheirOrder) {
  const RandomKey key(42);
  std::set<uint64_t> seen;
  for (const RandomKey& k : {key, RandomKey(43), key.fold(1), key.fold(2), key.fold(1).fold(2), key.fold(2).fold(1),
                             key.fold("a"), key.fold("b"), key.fold("ab"), key.fold("a").fold("b")})
    EXPECT_TRUE(seen.insert(k.value()).second);
  EXPECT_EQ(RandomKey(42).fold("a").fold(7).value(), key.fold("a").fold(7).value());
}

TEST(RandomKey, UniformHasTheRightMeanAndBelowStaysBelow) {
  const RandomKey key(1);
  double sum = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    const double u = key.uniform(i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    ASSERT_LT(key.below(7, i), 7U);
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
}

// Known answers of Random123's kat_vectors for philox4x32-10.
TEST(Philox, GivesThePublishedKnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ULL, ~0ULL, ~0ULL), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822ULL, 0x85a308d3243f6a88ULL, 0x0370734413198a2eULL),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Batch, NamesTheFieldsThereAre) {
  const Batch batch{.fields = {{"image", at::zeros({2})}, {"label", at::zeros({2})}}, .samples = {0, 1}, .random = {}};
  EXPECT_TRUE(batch.has("label"));
  try {
    (void)batch.at("tokens");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::configuration);
    EXPECT_THAT(e.what(), testing::HasSubstr("image, label"));
  }
}

TEST(Box, WholeCoversTheShape) {
  const Box box = Box::whole({2, 3});
  EXPECT_EQ(box, (Box{{0, 0}, {2, 3}}));
  EXPECT_EQ(box.elements(), 6);
  EXPECT_EQ(Box::whole({}).elements(), 1);
}

}  // namespace
}  // namespace trireme::core
