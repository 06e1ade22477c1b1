#include "debug/open_calls.h"

#include "debug/seldom.h"

#include <string>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

struct Call {
  std::string unit;
  int number = 0;
};

TEST(OpenCalls, CloseTheInnermostOfTheUnit) {
  OpenCalls<Call> calls;
  calls.open({"a", 1});
  calls.open({"b", 2});
  calls.open({"a", 3});
  EXPECT_EQ(calls.close("a")->number, 3);
  EXPECT_EQ(calls.close("b")->number, 2);
  EXPECT_EQ(calls.close("a")->number, 1);
  EXPECT_FALSE(calls.close("a").has_value());
}

TEST(OpenCalls, ForgetWhatThrew) {
  OpenCalls<Call> calls;
  calls.open({"a", 1});
  calls.open({"b", 2});  // throws, and "a" is done without it
  EXPECT_EQ(calls.close("a")->number, 1);
  EXPECT_FALSE(calls.close("b").has_value());
}

TEST(OpenCalls, KnowNothingOfWhatBeganBefore) {
  OpenCalls<Call> calls;
  EXPECT_FALSE(calls.close("a").has_value());
  calls.open({"a", 1});
  calls.clear();
  EXPECT_FALSE(calls.close("a").has_value());
}

TEST(Seldom, LetsASubjectThroughOnceIn100Steps) {
  Seldom seldom;
  EXPECT_TRUE(seldom.due("a", 7));
  EXPECT_FALSE(seldom.due("a", 7));
  EXPECT_TRUE(seldom.due("b", 106));
  EXPECT_FALSE(seldom.due("a", 106));
  EXPECT_TRUE(seldom.due("a", 107));
  EXPECT_FALSE(seldom.due("a", 108));
}

TEST(Seldom, RemembersWhatIsNotDueYetWhenThereAreMany) {
  Seldom seldom;
  for (int i = 0; i < 999; ++i) EXPECT_TRUE(seldom.due(std::to_string(i), 1));
  EXPECT_TRUE(seldom.due("late", 50));
  EXPECT_TRUE(seldom.due("one too many", 101)) << "those of step 1 are forgotten";
  EXPECT_FALSE(seldom.due("late", 101));
  EXPECT_TRUE(seldom.due("0", 101));
}

}  // namespace
}  // namespace trireme::debug
