#include "unit/debug/training.h"

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class MixedPrecision : public testing::Test {
 protected:
  MixedPrecision() { run.on(Switch::mixed_precision); }
  void decide(double scale, bool left_out) {
    ++step;
    skipped += left_out;
    run.tools[0]->decided(
        {.step = step, .loss_scale = scale, .left_out = left_out, .skipped = skipped});
  }
  Chain chain{2, 0.5, at::kBFloat16};
  Training run{chain};
  int64_t step = 0, skipped = 0;
};

TEST_F(MixedPrecision, FollowsTheScale) {
  decide(65536, false);
  decide(65536, true);
  decide(32768, false);
  decide(32768, false);
  decide(65536, false);
  const std::vector<json> all = run.notes.with("loss_scale");
  ASSERT_EQ(all.size(), 5U);
  EXPECT_EQ(all[1]["left_out"], true);
  EXPECT_EQ(all[2]["change"], "backed off");
  EXPECT_EQ(all[3]["finite_steps_in_a_row"], 1);
  EXPECT_EQ(all[4]["change"], "grown");
  const json digest = run.digest();
  EXPECT_EQ(digest["growths"], 1);
  EXPECT_EQ(digest["back_offs"], 1);
  EXPECT_EQ(digest["skipped"], 1);
  EXPECT_DOUBLE_EQ(digest["overflow_rate"].get<double>(), 0.2);
  EXPECT_THAT(run.notes.findings, IsEmpty());
  EXPECT_TRUE(run.digest().empty());
}

TEST_F(MixedPrecision, TellsOfAScaleThatFallsAndFallsAndOfManySkips) {
  double scale = 16;
  for (int i = 0; i < 8; ++i) decide(scale /= 2, true);
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("the loss scale has fallen to 0.5, below 1")));
  EXPECT_THAT(
      run.notes.findings,
      Contains(HasSubstr("5 of the last 5 steps were left out, 5 of them just now in a row")));
  EXPECT_EQ(run.notes.findings.size(), 2U);
}

TEST_F(MixedPrecision, TellsOfSkipsThatAreNotInARow) {
  for (int i = 0; i < 40; ++i) decide(1024, i % 4 == 0);
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("10 of the last 37 steps were left out")));
}

TEST_F(MixedPrecision, CountsTypes) {
  run.run([&] { return chain.loss(chain_input(4, at::kBFloat16)); });
  const json types = run.notes.with("parameters").at(0);
  EXPECT_EQ(types["parameters"], (json{{"bfloat16", 84}}));
  EXPECT_EQ(types["gradients"], (json{{"bfloat16", 84}}));
  EXPECT_EQ(types["outputs"], (json{{"bfloat16", 2}}));
  EXPECT_EQ(types["units"]["h.1"], "bfloat16");
  EXPECT_EQ(run.digest()["types"]["parameters"]["bfloat16"], 84);
  EXPECT_FALSE(run.tools[0]->needs_eager_steps());
}

}  // namespace
}  // namespace trireme::debug
