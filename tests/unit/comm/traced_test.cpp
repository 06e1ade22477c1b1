#include <trireme/comm/local.h>
#include <trireme/comm/traced.h>

#include "support/forwarding_communicator.h"
#include "support/spawn_ranks.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::comm {
namespace {

using telemetry::now_ns;
using telemetry::Recorder;
using telemetry::SpanRecord;
using test::spawn_ranks;

TrafficRow row(const std::vector<TrafficRow>& rows, const std::string& group,
               const std::string& operation) {
  for (const TrafficRow& one : rows)
    if (one.group == group && one.operation == operation) return one;
  return {};
}

TEST(Traced, EveryCallLeavesASpanWithItsPlaceInTheGroup) {
  spawn_ranks(3, [](const CommunicatorPtr& plain) {
    Recorder recorder;
    recorder.begin_step(9);
    const CommunicatorPtr ranks = traced(plain, recorder);
    const int64_t before = now_ns();
    ranks->all_reduce(at::ones({10}), ReduceOp::sum)->wait();
    ranks->barrier()->wait();
    static_cast<void>(ranks->all_gather_bytes("abc"));
    const auto spans = recorder.spans().drain();
    ASSERT_EQ(spans.size(), 3U);
    const char* names[] = {"all_reduce", "barrier", "all_gather_bytes"};
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_STREQ(spans[i].name, names[i]);
      EXPECT_EQ(spans[i].sequence, static_cast<int64_t>(i));
      EXPECT_STREQ(spans[i].group, "world");
      EXPECT_EQ(spans[i].group_rank, plain->rank());
      EXPECT_EQ(spans[i].group_size, 3);
      EXPECT_EQ(spans[i].category, telemetry::Category::communication);
      EXPECT_EQ(spans[i].step, 9);
      EXPECT_GE(spans[i].start_ns, before);
      EXPECT_LE(spans[i].start_ns + spans[i].duration_ns, now_ns());
    }
    EXPECT_EQ(spans[0].bytes, 40);
    EXPECT_EQ(spans[2].bytes, 3);
  });
}

TEST(Traced, TheSpanIsTheTransferNotTheWait) {
  spawn_ranks(2, [](const CommunicatorPtr& plain) {
    Recorder recorder;
    const CommunicatorPtr ranks = traced(plain, recorder);
    const WorkPtr work = ranks->all_reduce(at::ones({1000}), ReduceOp::sum);
    while (!work->done()) std::this_thread::yield();
    const auto transfer = work->interval();
    ASSERT_TRUE(transfer);
    EXPECT_EQ(transfer->end_ns - transfer->start_ns, work->busy_ns());
    const int64_t late = now_ns() + 2'000'000;
    while (now_ns() < late) {
    }
    work->wait();
    work->wait();
    const auto spans = recorder.spans().drain();
    ASSERT_EQ(spans.size(), 1U) << "one call, one span";
    EXPECT_EQ(spans[0].start_ns, transfer->start_ns);
    EXPECT_EQ(spans[0].duration_ns, work->busy_ns());
  });
}

TEST(Traced, NumbersAndLabelsOfACollectiveAreTheSameOnItsRanksAndOnNoOthers) {
  constexpr int n = 4;
  std::mutex mutex;
  std::map<std::pair<std::string, int64_t>, std::vector<std::string>> calls;
  spawn_ranks(n, [&](const CommunicatorPtr& plain) {
    Recorder recorder;
    const CommunicatorPtr ranks = traced(plain, recorder);
    const CommunicatorPtr parity = ranks->split(ranks->rank() % 2, 0, "parity");
    const CommunicatorPtr again = ranks->split(0, 0, "parity");
    const CommunicatorPtr some = ranks->split(ranks->rank() == 0 ? -1 : 1, 0, "some");
    const CommunicatorPtr nested = parity->split(0, 0, "all");
    EXPECT_EQ(some == nullptr, ranks->rank() == 0);
    EXPECT_EQ(parity->name(), "world/parity");
    for (Communicator* one : {ranks.get(), parity.get(), again.get(), some.get(), nested.get()}) {
      if (one == nullptr) continue;
      one->all_reduce(at::ones({one->size()}), ReduceOp::max)->wait();
      // Messages do not count: only some ranks take part.
      if (one->rank() == 0 && one->size() > 1) one->send(at::ones({1}), 1)->wait();
      if (one->rank() == 1) one->recv(at::ones({1}), 0)->wait();
      one->broadcast(at::ones({2}), 0)->wait();
    }
    const std::lock_guard lock(mutex);
    for (const SpanRecord& span : recorder.spans().drain()) {
      const std::string name = span.name;
      EXPECT_EQ(span.sequence < 0, name == "send" || name == "recv");
      if (span.sequence >= 0)
        calls[{span.group, span.sequence}].push_back(name + " of " +
                                                     std::to_string(span.group_size));
    }
  });
  std::map<std::string, int> groups;
  for (const auto& [call, names] : calls) {
    ++groups[call.first];
    EXPECT_THAT(names, testing::Each(names[0])) << call.first << " " << call.second;
    EXPECT_EQ(names[0].substr(names[0].find(" of ") + 4), std::to_string(names.size()));
  }
  EXPECT_THAT(groups, testing::UnorderedElementsAre(
                          std::pair("world", 5), std::pair("world/parity", 3),
                          std::pair("world/parity:1", 3), std::pair("world/parity (2)", 2),
                          std::pair("world/some:1", 2), std::pair("world/parity/all", 2),
                          std::pair("world/parity:1/all", 2)));
}

TEST(Traced, TrafficIsTheWholeFamilys) {
  spawn_ranks(2, [](const CommunicatorPtr& plain) {
    Recorder recorder;
    const CommunicatorPtr ranks = traced(plain, recorder);
    EXPECT_TRUE(traffic_of(*ranks).empty());
    const CommunicatorPtr part = ranks->split(ranks->rank(), 0, "alone");
    for (int i = 0; i < 3; ++i) ranks->all_reduce(at::ones({100}), ReduceOp::sum)->wait();
    ranks->all_gather(at::empty({8}), at::ones({4}))->wait();
    part->broadcast(at::ones({5}, at::kByte), 0)->wait();
    for (const Communicator* any : {ranks.get(), part.get()}) {
      const auto rows = traffic_of(*any);
      EXPECT_EQ(rows.size(), 4U);
      const TrafficRow sums = row(rows, "world", "all_reduce");
      EXPECT_EQ(sums.calls, 3);
      EXPECT_EQ(sums.bytes, 1200);
      EXPECT_GT(sums.busy_seconds, 0);
      EXPECT_GT(sums.waited_seconds, 0);
      EXPECT_EQ(row(rows, "world", "all_gather").bytes, 32);
      EXPECT_EQ(row(rows, "world", "split").calls, 1);
      const std::string label = ranks->rank() == 0 ? "world/alone" : "world/alone:1";
      EXPECT_EQ(row(rows, label, "broadcast").bytes, 5) << "the label that its spans have, too";
    }
    EXPECT_TRUE(traffic_of(*plain).empty());
  });
}

TEST(Traced, RepeatedWorkIsCountedAgainButHasNoTimes) {
  spawn_ranks(2, [](const CommunicatorPtr& plain) {
    Recorder recorder;
    const CommunicatorPtr ranks = traced(plain, recorder);
    const CommunicatorPtr part = ranks->split(0, 0, "part");
    const auto before = traffic_of(*ranks);
    for (int i = 0; i < 2; ++i) ranks->all_reduce(at::ones({100}), ReduceOp::sum)->wait();
    part->broadcast(at::ones({5}, at::kByte), 0)->wait();
    const auto moved = traffic_since(before, traffic_of(*ranks));
    ASSERT_EQ(moved.size(), 2U) << "nothing was split since";
    count_again(*ranks, moved);
    count_again(*part, moved);  // of the family, whichever of it is asked
    const TrafficRow once = row(moved, "world", "all_reduce");
    const TrafficRow sums = row(traffic_of(*ranks), "world", "all_reduce");
    EXPECT_EQ(sums.calls, 6);
    EXPECT_EQ(sums.bytes, 2400);
    EXPECT_EQ(sums.timed_bytes, 800);
    EXPECT_EQ(sums.busy_seconds, once.busy_seconds);
    EXPECT_EQ(row(traffic_of(*ranks), "world/part", "broadcast").bytes, 15);
    count_again(*plain, moved);
    EXPECT_TRUE(traffic_of(*plain).empty());
  });
}

TEST(Traced, TrafficOfCommunicatorsOfOneNameIsToldApart) {
  spawn_ranks(2, [](const CommunicatorPtr& plain) {
    Recorder recorder;
    const CommunicatorPtr ranks = traced(plain, recorder, "device");
    const CommunicatorPtr first = ranks->split(0, 0, "part"), second = ranks->split(0, 0, "part");
    EXPECT_EQ(first->name(), second->name());
    first->all_reduce(at::ones({1}), ReduceOp::sum)->wait();
    for (int i = 0; i < 2; ++i) second->all_reduce(at::ones({1}), ReduceOp::sum)->wait();
    const auto rows = traffic_of(*ranks);
    std::set<std::pair<std::string, std::string>> keys;
    for (const TrafficRow& one : rows) keys.emplace(one.group, one.operation);
    EXPECT_EQ(keys.size(), rows.size()) << "one row a group and operation";
    EXPECT_EQ(row(rows, "device", "split").calls, 2);
    EXPECT_EQ(row(rows, "device/part", "all_reduce").calls, 1);
    EXPECT_EQ(row(rows, "device/part (2)", "all_reduce").calls, 2);
    std::set<std::string> groups, labels;
    for (const TrafficRow& one : rows) groups.insert(one.group);
    for (const SpanRecord& span : recorder.spans().drain()) labels.insert(span.group);
    EXPECT_EQ(groups, labels);
  });
}

TEST(Traced, DisabledItCountsButLeavesNoSpans) {
  Recorder recorder;
  recorder.set_enabled(false);
  const CommunicatorPtr alone = traced(make_local_communicator(), recorder);
  alone->all_reduce(at::ones({4}), ReduceOp::sum)->wait();
  EXPECT_TRUE(recorder.spans().drain().empty());
  EXPECT_EQ(row(traffic_of(*alone), alone->name(), "all_reduce").bytes, 16);
}

TEST(Traced, WhatNobodyWaitsForLeavesItsSpanToo) {
  Recorder recorder;
  const CommunicatorPtr alone = traced(make_local_communicator(), recorder);
  { const WorkPtr forgotten = alone->barrier(); }
  EXPECT_EQ(recorder.spans().drain().size(), 1U);
}

TEST(Traced, HoldsNoTensors) {
  Recorder recorder;
  const CommunicatorPtr alone = traced(make_local_communicator(), recorder);
  const at::Tensor values = at::ones({4});
  const WorkPtr work = alone->all_reduce(values, ReduceOp::sum);
  work->wait();
  EXPECT_EQ(values.use_count(), 1);
}

TEST(Traced, RefusedCallsGetNoNumber) {
  Recorder recorder;
  const CommunicatorPtr alone = traced(make_local_communicator(), recorder);
  EXPECT_ANY_THROW(static_cast<void>(alone->all_reduce(at::zeros({4, 6}).t(), ReduceOp::sum)));
  EXPECT_ANY_THROW(static_cast<void>(alone->broadcast(at::ones({1}), 3)));
  EXPECT_TRUE(traffic_of(*alone).empty());
  alone->barrier()->wait();
  const auto spans = recorder.spans().drain();
  ASSERT_EQ(spans.size(), 1U);
  EXPECT_EQ(spans[0].sequence, 0);
}

TEST(Traced, ALabelTellsCommunicatorsOfTheSameNameApart) {
  Recorder recorder;
  const CommunicatorPtr device = traced(make_local_communicator(), recorder, "world on the device");
  const CommunicatorPtr part = device->split(2, 0, "part");
  part->barrier()->wait();
  EXPECT_EQ(device->name(), make_local_communicator()->name());
  EXPECT_STREQ(recorder.spans().drain().back().group, "world on the device/part:2");
}

/// A device's: wait() returns at once, times are known later and by busy_ns() alone.
class DeviceLike final : public test::ForwardingCommunicator {
 public:
  struct Clue {
    bool complete = false;
    int waits = 0, host_waits = 0;
  };
  explicit DeviceLike(Clue& clue)
      : ForwardingCommunicator(make_local_communicator()), clue_(clue) {}
  WorkPtr all_reduce(const at::Tensor&, ReduceOp) override { return std::make_shared<Late>(clue_); }

 private:
  struct Late final : Work {
    explicit Late(Clue& clue) : seen(clue) {}
    bool done() const override { return seen.complete; }
    void wait() override { ++seen.waits; }
    void wait_on_host() override { ++seen.host_waits; }
    int64_t busy_ns() const override { return seen.complete ? 5000 : 0; }
    Clue& seen;
  };
  Clue& clue_;
};

TEST(Traced, OnADeviceTheHostGoesOnAndTheTimeIsCountedOnceItIsKnown) {
  Recorder recorder;
  DeviceLike::Clue clue;
  const CommunicatorPtr ranks = traced(std::make_shared<DeviceLike>(clue), recorder);
  const auto busy = [&] {
    return row(traffic_of(*ranks), ranks->name(), "all_reduce").busy_seconds;
  };
  {
    const WorkPtr work = ranks->all_reduce(at::ones({2}), ReduceOp::sum);
    work->wait();
    EXPECT_EQ(clue.waits, 1);
    EXPECT_EQ(clue.host_waits, 0);
    EXPECT_EQ(recorder.spans().drain().size(), 1U);
    EXPECT_EQ(work->busy_ns(), 0);
    EXPECT_EQ(busy(), 0);
    clue.complete = true;
    EXPECT_EQ(work->busy_ns(), 5000);
    EXPECT_EQ(work->busy_ns(), 5000);
  }
  EXPECT_DOUBLE_EQ(busy(), 5e-6);
  ranks->all_reduce(at::ones({2}), ReduceOp::sum)->wait_on_host();
  EXPECT_EQ(clue.host_waits, 1);
  EXPECT_DOUBLE_EQ(busy(), 1e-5) << "of what nobody asked it is counted at the end";
}

}  // namespace
}  // namespace trireme::comm
