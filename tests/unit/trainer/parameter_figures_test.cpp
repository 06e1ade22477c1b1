#include "trainer/parameter_figures.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::trainer {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::IsEmpty;

const auto is = [](double value) { return DoubleNear(value, 1e-9); };

TEST(ParameterFigures, AreHeardOfOneRankWhereAllHoldTheSame) {
  const std::vector<std::string> by_rank{
      R"({"lr_scheduling": {"digest": {"step": 99}}})",
      R"({"gradient_norms": {"digest": {"step": 7, "norms": {"a": 100, "b": 0.001, "c": 0, "d": null}}},
          "backward_pass": {"digest": {"step": 7, "update_ratios": {"a": 0.01}}}})",
      R"({"gradient_norms": {"digest": {"step": 7, "norms": {"a": 100, "b": 0.001, "c": 0, "d": null}}}})"};
  const std::vector<ParameterFigure> figures = parameter_figures(by_rank);
  ASSERT_EQ(figures.size(), 2U);
  EXPECT_EQ(figures[0].tag, "debug/gradient_norms_log10");
  EXPECT_EQ(figures[0].step, 7);
  EXPECT_THAT(figures[0].logarithms, ElementsAre(is(2), is(-3))) << "zero has no logarithm";
  EXPECT_EQ(figures[1].tag, "debug/update_ratios_log10");
  EXPECT_THAT(figures[1].logarithms, ElementsAre(is(-2)));
}

TEST(ParameterFigures, OfPartsArePutTogether) {
  const std::vector<std::string> by_rank{
      R"({"gradient_norms": {"digest": {"step": 3, "norms": {"a": 6, "b": 1}}}})",
      R"({"gradient_norms": {"digest": {"step": 3, "norms": {"a": 8}, "of": "this rank's part"}},
          "backward_pass": {"digest": {"step": 3, "update_ratios": {"a": 0.1}, "of": "this rank's part"}}})",
      R"({"backward_pass": {"digest": {"step": 3, "update_ratios": {"a": 10}}}})"};
  const std::vector<ParameterFigure> figures = parameter_figures(by_rank);
  ASSERT_EQ(figures.size(), 2U);
  EXPECT_THAT(figures[0].logarithms, ElementsAre(is(1), is(0))) << "the norm of 6 and 8 is 10";
  EXPECT_THAT(figures[1].logarithms, ElementsAre(is(-1), is(1))) << "each part has a ratio";
}

TEST(ParameterFigures, CopiesOfPartsAreHeardOnce) {
  const std::string part = R"({"gradient_norms": {"digest": {"step": 3, "norms": {"a": 6}, "of": "this rank's part"}}})";
  const std::string other = R"({"gradient_norms": {"digest": {"step": 3, "norms": {"a": 8}, "of": "this rank's part"}}})";
  const std::string copy =
      R"({"gradient_norms": {"digest": {"step": 3, "norms": {"a": 8}, "of": "this rank's part", "copy": "of another rank's part"}}})";
  EXPECT_THAT(parameter_figures(std::vector{part, other, copy}).at(0).logarithms, ElementsAre(is(1)));
  EXPECT_THAT(parameter_figures(std::vector{copy}).at(0).logarithms, ElementsAre(is(std::log10(8)))) << "better than nothing";
}

TEST(ParameterFigures, WhatIsGarbledSaysNothing) {
  const std::vector<std::string> by_rank{"no json", R"({"gradient_norms": {"digest": {"step": "x", "norms": [1]}}})",
                                         R"({"gradient_norms": {"digest": 5}})", "{}"};
  EXPECT_THAT(parameter_figures(by_rank), IsEmpty());
  EXPECT_THAT(parameter_figures({}), IsEmpty());
}

}  // namespace
}  // namespace trireme::trainer
