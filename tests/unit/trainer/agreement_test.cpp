#include "trainer/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/spawn_ranks.h"

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

TEST(RequireEqual, ThrowsOnEveryRankAndNamesTheKey) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& all) {
    EXPECT_NO_THROW(require_equal(*all, "things", "a = 1", "hint"));
    try {
      require_equal(*all, "things", all->rank() == 1 ? "a = 2" : "a = 1", "do this");
      ADD_FAILURE() << "rank " << all->rank();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::ranks_differ);
      EXPECT_THAT(e.what(), testing::HasSubstr("a: 1 on ranks 0, 2; 2 on rank 1"));
      EXPECT_EQ(e.hint(), "do this");
    }
  });
}

TEST(OnRank0, GivesItsTextOrItsErrorToAllRanks) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& all) {
    int calls = 0;
    EXPECT_EQ(on_rank_0(*all, [&] {
                ++calls;
                return std::string("found");
              }),
              "found");
    EXPECT_EQ(calls, all->rank() == 0 ? 1 : 0);
    try {
      (void)on_rank_0(*all, []() -> std::string { throw Error(ErrorKind::storage, "disk full", "free some"); });
      ADD_FAILURE() << "rank " << all->rank();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::storage);
      EXPECT_EQ(e.message(), "disk full");
      EXPECT_EQ(e.hint(), "free some");
    }
  });
}

}  // namespace
}  // namespace trireme::trainer
