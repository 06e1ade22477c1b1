#include <trireme/telemetry/operator_trace.h>

#include <gmock/gmock.h>

namespace trireme::telemetry {
namespace {

using testing::ElementsAre;
using Kind = OperatorEvent::Kind;

OperatorEvent event(int64_t start, int64_t duration, int32_t thread = 0, int32_t device = -1, Kind kind = Kind::operation) {
  OperatorEvent event;
  event.kind = kind;
  event.thread = thread;
  event.device = device;
  event.start_ns = start;
  event.duration_ns = duration;
  return event;
}

TEST(OperatorTrace, ParentsAreTheInnermostAround) {
  //                                         0 [0,100)      1 [10,40)     2 [10,20)      3 [20,30)     4 [50,60)      5 [100,110)
  const std::vector<OperatorEvent> events = {event(0, 100), event(10, 30), event(10, 10), event(20, 10), event(50, 10), event(100, 10)};
  EXPECT_THAT(parents_of(events), ElementsAre(-1, 0, 1, 1, 0, -1));
}

TEST(OperatorTrace, ThreadsAndStreamsAreApart) {
  const std::vector<OperatorEvent> events = {event(0, 100), event(10, 10, 1), event(20, 10, 0, 0, Kind::kernel), event(30, 10)};
  EXPECT_THAT(parents_of(events), ElementsAre(-1, -1, -1, 0));
}

TEST(OperatorTrace, MomentsHaveParentsAndNoChildren) {
  const std::vector<OperatorEvent> events = {event(0, 100), event(10, 0, 0, -1, Kind::memory), event(10, 10)};
  EXPECT_THAT(parents_of(events), ElementsAre(-1, 0, 0));
}

TEST(OperatorTrace, OfTwoThatStartTogetherTheLongerComesFirst) {
  std::vector<OperatorEvent> events = {event(10, 5), event(10, 20), event(0, 1)};
  order(events);
  EXPECT_EQ(events[0].start_ns, 0);
  EXPECT_EQ(events[1].duration_ns, 20);
}

}  // namespace
}  // namespace trireme::telemetry
