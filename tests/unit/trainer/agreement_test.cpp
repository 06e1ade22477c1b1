#include "trainer/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::trainer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Differences, NoneForEqualTexts) { EXPECT_THAT(differences_between_ranks({"a = 1\nb = 2\n", "b = 2\na = 1\n"}), IsEmpty()); }

TEST(Differences, GroupRanksByValue) {
  EXPECT_THAT(differences_between_ranks({"lr = 1\nx = 0", "lr = 2\nx = 0", "lr = 1\nx = 0"}),
              ElementsAre("lr: 1 on ranks 0, 2; 2 on rank 1"));
}

TEST(Differences, ShowWhatARankLacks) {
  EXPECT_THAT(differences_between_ranks({"a = 1", ""}), ElementsAre("a: (absent) on rank 1; 1 on rank 0"));
}

TEST(Differences, ShortenLongLists) {
  std::vector<std::string> texts(20, "a = 1");
  texts[3] = "a = 2";
  EXPECT_THAT(differences_between_ranks(texts), ElementsAre("a: 1 on ranks 0, 1, 2, 4, 5, 6, 7, 8 and 11 more; 2 on rank 3"));
}

}  // namespace
}  // namespace trireme::trainer
