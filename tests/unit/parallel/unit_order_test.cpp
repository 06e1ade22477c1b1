#include "parallel/unit_order.h"

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

UnitOrder learned(const std::vector<size_t>& units) {
  UnitOrder order;
  for (const size_t unit : units) EXPECT_TRUE(order.enter(unit));
  EXPECT_TRUE(order.end());
  return order;
}

TEST(UnitOrder, TheFirstPassIsLearnedWithoutGuesses) {
  UnitOrder order;
  EXPECT_FALSE(order.known());
  for (const size_t unit : {4U, 1U, 4U}) {
    EXPECT_EQ(order.next(), std::nullopt);
    EXPECT_EQ(order.expected(), std::nullopt);
    EXPECT_TRUE(order.enter(unit));
  }
  EXPECT_EQ(order.next(), std::nullopt);
  EXPECT_FALSE(order.known());
  EXPECT_TRUE(order.end());
  EXPECT_TRUE(order.known());
  EXPECT_THAT(order.units(), ElementsAre(4, 1, 4));
}

TEST(UnitOrder, LaterPassesAreToldWhatComesNext) {
  UnitOrder order = learned({0, 2, 0, 1});
  for (int pass = 0; pass < 3; ++pass) {
    EXPECT_EQ(order.next(), 0U);
    EXPECT_TRUE(order.enter(0));
    EXPECT_EQ(order.next(), 2U);
    EXPECT_TRUE(order.enter(2));
    EXPECT_EQ(order.next(), 0U);
    EXPECT_TRUE(order.enter(0));
    EXPECT_EQ(order.next(), 1U);
    EXPECT_TRUE(order.enter(1));
    EXPECT_EQ(order.next(), std::nullopt);
    EXPECT_TRUE(order.end());
    EXPECT_THAT(order.units(), ElementsAre(0, 2, 0, 1));
  }
}

TEST(UnitOrder, RefusesAnotherUnitAndSaysWhatItExpected) {
  UnitOrder order = learned({3, 5});
  EXPECT_FALSE(order.enter(5));
  EXPECT_EQ(order.expected(), 3U);
  // A refused unit did not enter.
  EXPECT_TRUE(order.enter(3));
  EXPECT_FALSE(order.enter(3));
  EXPECT_EQ(order.expected(), 5U);
  EXPECT_TRUE(order.enter(5));
  EXPECT_TRUE(order.end());
  EXPECT_THAT(order.units(), ElementsAre(3, 5));
}

TEST(UnitOrder, RefusesMoreThanWereLearned) {
  UnitOrder order = learned({3});
  EXPECT_TRUE(order.enter(3));
  EXPECT_FALSE(order.enter(3));
  EXPECT_EQ(order.expected(), std::nullopt);
  EXPECT_TRUE(order.end());
}

TEST(UnitOrder, AnEndTooSoonIsNoticedAndThePassIsOver) {
  UnitOrder order = learned({3, 5, 7});
  EXPECT_TRUE(order.enter(3));
  EXPECT_EQ(order.expected(), 5U);
  EXPECT_FALSE(order.end());
  EXPECT_FALSE(order.end());  // of a pass in which nothing came
  EXPECT_EQ(order.expected(), 3U);
  for (const size_t unit : {3U, 5U, 7U}) EXPECT_TRUE(order.enter(unit));
  EXPECT_TRUE(order.end());
}

TEST(UnitOrder, APassWithoutUnitsTeachesNothing) {
  UnitOrder order;
  EXPECT_TRUE(order.end());
  EXPECT_FALSE(order.known());
  EXPECT_THAT(order.units(), IsEmpty());
  EXPECT_TRUE(order.enter(2));
  EXPECT_TRUE(order.end());
  EXPECT_TRUE(order.known());
}

}  // namespace
}  // namespace trireme::parallel
