#include <trireme/core/error.h>
#include <trireme/optim/groups.h>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::optim {
namespace {

using testing::HasSubstr;

core::ParameterSet gpt() {
  return {{"wte.weight", at::zeros({8, 4}).requires_grad_()},
          {"h.0.ln_1.weight", at::zeros({4}).requires_grad_()},
          {"h.0.attn.c_attn.weight", at::zeros({4, 12}).requires_grad_()},
          {"h.0.attn.c_attn.bias", at::zeros({12}).requires_grad_()}};
}

TEST(Glob, Matches) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("*", "a.b"));
  EXPECT_TRUE(matches("h.*.bias", "h.0.attn.c_attn.bias"));
  EXPECT_TRUE(matches("*bias*", "bias"));
  EXPECT_TRUE(matches("h.?.ln", "h.3.ln"));
  EXPECT_TRUE(matches("*a*b", "aab_ab"));
  EXPECT_TRUE(matches("abc", "abc"));
  EXPECT_FALSE(matches("h.?.ln", "h.10.ln"));
  EXPECT_FALSE(matches("h.*.bias", "h.0.weight"));
  EXPECT_FALSE(matches("abc", "abcd"));
  EXPECT_FALSE(matches("abc*d", "abc"));
  EXPECT_FALSE(matches("", "a"));
}

TEST(Groups, OnlyMatricesDecayUnlessAllDo) {
  OptimConfig config;
  config.weight_decay = 0.3;
  std::vector<ParameterSettings> s = plan_groups(config, gpt());
  EXPECT_EQ(s[0].weight_decay, 0.3);
  EXPECT_EQ(s[1].weight_decay, 0.0);
  EXPECT_EQ(s[2].weight_decay, 0.3);
  EXPECT_EQ(s[3].weight_decay, 0.0);
  config.decay_all = true;
  for (const ParameterSettings& own : plan_groups(config, gpt())) EXPECT_EQ(own.weight_decay, 0.3);
}

TEST(Groups, FirstMatchWins) {
  OptimConfig config;
  config.weight_decay = 0.3;
  config.groups = {{"*.bias", 2.0, 0.5, false}, {"h.*", 3.0, {}, false}, {"wte.*", 1.0, {}, true}};
  const std::vector<ParameterSettings> s = plan_groups(config, gpt());
  EXPECT_EQ(s[0], (ParameterSettings{1.0, 0.3, true}));
  EXPECT_EQ(s[1], (ParameterSettings{3.0, 0.0, false}));
  EXPECT_EQ(s[2], (ParameterSettings{3.0, 0.3, false}));
  EXPECT_EQ(s[3], (ParameterSettings{2.0, 0.5, false}));
}

Error refused(const OptimConfig& config) {
  try {
    (void)plan_groups(config, gpt());
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::unexpected, "nothing was thrown"};
}

TEST(Groups, APatternThatFitsNothingNamesTheNearest) {
  OptimConfig config;
  config.groups = {{"*", 1.0, {}, false}, {"wte.weigth", 1.0, {}, false}};
  std::swap(config.groups[0], config.groups[1]);
  const Error error = refused(config);
  EXPECT_EQ(error.kind(), ErrorKind::configuration);
  EXPECT_THAT(error.message(), HasSubstr("optim.groups[0]: 'wte.weigth' fits no parameter"));
  EXPECT_THAT(error.hint(), HasSubstr("nearest names are wte.weight"));
}

TEST(Groups, AGroupBehindAnotherThatTakesAllIsRefused) {
  OptimConfig config;
  config.groups = {{"*", 1.0, {}, false}, {"wte.*", 1.0, {}, true}};
  const Error error = refused(config);
  EXPECT_EQ(error.kind(), ErrorKind::configuration);
  EXPECT_THAT(error.message(), HasSubstr("optim.groups[1]"));
  EXPECT_THAT(error.message(), HasSubstr("earlier group"));
}

TEST(Groups, SomethingMustBeTrained) {
  OptimConfig config;
  config.groups = {{"*", 1.0, {}, true}};
  EXPECT_EQ(refused(config).kind(), ErrorKind::configuration);
  EXPECT_THAT(refused(config).message(), HasSubstr("no parameter is left to train"));
}

TEST(Groups, NamesWhatIsNotTrained) {
  OptimConfig config;
  config.groups = {{"h.*", 1.0, {}, true}};
  std::set<std::string> others;
  for (const core::Parameter& p : gpt())
    if (p.name != "wte.weight") others.insert(p.name);
  EXPECT_EQ(frozen_names(config, gpt()), others);
}

}  // namespace
}  // namespace trireme::optim
