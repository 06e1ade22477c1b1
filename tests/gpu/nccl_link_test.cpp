#include "cuda/comm/nccl_link.h"

#include <trireme/comm/local.h>
#include <trireme/core/error.h>

#include "cuda/comm/nccl_watch.h"
#include "gpu/fake_nccl.h"
#include "support/communicator_cases.h"

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::cuda {
namespace {

using test::fake_nccl;
using test::communicator_cases::kind_thrown;
using testing::HasSubstr;
using namespace std::chrono_literals;

/// The watch does not know the links of these tests: they look themselves.
class NcclLinkOf : public testing::Test {
 protected:
  NcclLinkOf() { test::reset_fake_nccl(); }

  std::shared_ptr<NcclLink> opened(const NcclLink* parent = nullptr) {
    auto link = std::make_shared<NcclLink>(ranks, 0, parent);
    link->open({});
    return link;
  }
  /// Looks until nothing is left of it.
  static void take_down(const std::shared_ptr<NcclLink>& link) {
    link->retire();
    while (link->look(true)) std::this_thread::yield();
  }
  static std::shared_ptr<Transfer> begin(NcclLink& link, const at::Tensor& values = {}) {
    auto transfer = std::make_shared<Transfer>("all_reduce", 4096, link.next_sequence(), false,
                                               std::vector<at::Tensor>{values});
    transfer->begin(nullptr);
    link.call("all_reduce", [](ncclComm_t) { return ncclSuccess; });
    transfer->end(nullptr);
    link.track(transfer);
    return transfer;
  }

  const comm::CommunicatorPtr ranks = comm::make_local_communicator();
};

TEST_F(NcclLinkOf, WhatIsNotUsedAnyMoreIsDestroyedNotAborted) {
  const auto link = opened();
  EXPECT_TRUE(link->look(true));
  EXPECT_FALSE(link->health().poisoned());
  take_down(link);
  EXPECT_EQ(fake_nccl().destroyed, 1);
  EXPECT_EQ(fake_nccl().aborted, 0);
  EXPECT_THROW(link->call("all_reduce", [](ncclComm_t) { return ncclSuccess; }), Error);
}

TEST_F(NcclLinkOf, OpeningGoesOnInTheBackground) {
  fake_nccl().returned = ncclInProgress;
  fake_nccl().background = ncclInProgress;
  fake_nccl().asked = [](int question) {
    if (question == 500) fake_nccl().background = ncclSuccess;
  };
  const auto link = opened();
  EXPECT_GE(fake_nccl().questions, 500);
  take_down(link);
}

TEST_F(NcclLinkOf, OpeningPastTheDeadlineIsAHang) {
  fake_nccl().returned = ncclInProgress;
  fake_nccl().background = ncclInProgress;
  ranks->set_deadline(5ms);
  const auto link = std::make_shared<NcclLink>(ranks, 0, nullptr);
  std::string message;
  EXPECT_EQ(kind_thrown([&] { link->open({}); }, &message), ErrorKind::hang);
  EXPECT_THAT(message,
              HasSubstr("joining the ranks of communicator world did not end within 0.005 s"));
  take_down(link);
  EXPECT_EQ(fake_nccl().aborted, 1);
}

TEST_F(NcclLinkOf, AFailureToOpenIsToldAndTakenDown) {
  fake_nccl().returned = ncclSystemError;
  const auto link = std::make_shared<NcclLink>(ranks, 0, nullptr);
  std::string message;
  EXPECT_EQ(kind_thrown([&] { link->open({}); }, &message), ErrorKind::environment);
  EXPECT_THAT(message, HasSubstr("joining the ranks on rank 0 of world: a failure (its detail)"));
  take_down(link);
  EXPECT_EQ(fake_nccl().aborted, 1);
}

TEST_F(NcclLinkOf, PoisonOfTheHostEndsTheOpening) {
  fake_nccl().returned = ncclInProgress;
  fake_nccl().background = ncclInProgress;
  fake_nccl().asked = [&](int question) {
    if (question == 3) ranks->poison(Error(ErrorKind::peer_lost, "rank 9 was lost"));
  };
  const auto link = std::make_shared<NcclLink>(ranks, 0, nullptr);
  EXPECT_EQ(kind_thrown([&] { link->open({}); }), ErrorKind::peer_lost);
  take_down(link);
  EXPECT_EQ(fake_nccl().aborted, 1);
}

TEST_F(NcclLinkOf, AFailedCallPoisons) {
  const auto link = opened();
  const auto call = [&] {
    link->call("all_reduce", [](ncclComm_t) { return ncclInvalidUsage; });
  };
  std::string first, second;
  EXPECT_EQ(kind_thrown(call, &first), ErrorKind::environment);
  EXPECT_THAT(first, HasSubstr("all_reduce on rank 0 of world"));
  kind_thrown([&] { link->call("broadcast", [](ncclComm_t) { return ncclSuccess; }); }, &second);
  EXPECT_EQ(first, second);
  EXPECT_EQ(ranks->poisoned(), nullptr);
  take_down(link);
  EXPECT_EQ(fake_nccl().aborted, 1);
}

TEST_F(NcclLinkOf, AFailureInTheBackgroundIsFound) {
  const auto link = opened();
  fake_nccl().background = ncclRemoteError;
  static_cast<void>(link->look(true));
  ASSERT_TRUE(link->health().poisoned());
  EXPECT_EQ(link->health().reason()->kind(), ErrorKind::peer_lost);
  take_down(link);
  EXPECT_EQ(fake_nccl().aborted, 1);
}

TEST_F(NcclLinkOf, TensorsThatNobodyWaitsForLiveUntilTheDeviceIsDone) {
  const auto link = opened();
  fake_nccl().device_stuck = true;
  at::Tensor values = at::ones({4});
  const auto transfer = begin(*link, values);
  EXPECT_TRUE(link->look(true));
  EXPECT_EQ(values.use_count(), 2U);
  EXPECT_EQ(transfer->nanoseconds(), 0);
  fake_nccl().device_stuck = false;
  EXPECT_TRUE(link->look(/*may_ask=*/false));
  EXPECT_EQ(fake_nccl().events_asked, 1);
  EXPECT_EQ(values.use_count(), 2U);
  EXPECT_TRUE(link->look(true));
  EXPECT_EQ(values.use_count(), 1U);
  EXPECT_EQ(transfer->nanoseconds(), 250'000);
  take_down(link);
  EXPECT_EQ(fake_nccl().destroyed, 1);
}

TEST_F(NcclLinkOf, ARetiredOneEndsWhenItsOperationsHave) {
  const auto link = opened();
  fake_nccl().device_stuck = true;
  static_cast<void>(begin(*link));
  link->retire();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(link->look(true));
  EXPECT_FALSE(link->leaving());
  fake_nccl().device_stuck = false;
  take_down(link);
  EXPECT_EQ(fake_nccl().destroyed, 1);
}

TEST_F(NcclLinkOf, AnOperationPastTheDeadlineIsAHangAndAborted) {
  const auto link = opened();
  fake_nccl().device_stuck = true;
  link->health().set_deadline(1ms);
  at::Tensor values = at::ones({4});
  static_cast<void>(begin(*link, values));
  static_cast<void>(begin(*link));
  while (!link->health().poisoned()) EXPECT_TRUE(link->look(true));
  const auto reason = link->health().reason();
  EXPECT_EQ(reason->kind(), ErrorKind::hang);
  EXPECT_THAT(
      reason->message(),
      HasSubstr("rank 0 of world: all_reduce of 4096 bytes, operation 1 of communicator world"));
  take_down(link);
  EXPECT_EQ(fake_nccl().aborted, 1);
  EXPECT_EQ(values.use_count(), 1U);
}

TEST_F(NcclLinkOf, AFailureOfTheDeviceIsTold) {
  const auto link = opened();
  fake_nccl().device_error = cudaErrorIllegalAddress;
  static_cast<void>(begin(*link));
  static_cast<void>(link->look(true));
  ASSERT_TRUE(link->health().poisoned());
  EXPECT_THAT(
      link->health().reason()->message(),
      HasSubstr(
          "the GPU failed before all_reduce of 4096 bytes, operation 1 ended: an illegal access"));
  take_down(link);
}

TEST_F(NcclLinkOf, APartIsPoisonedWithTheWhole) {
  const auto whole = opened();
  const auto part = std::make_shared<NcclLink>(ranks, 0, whole.get());
  whole->split(part.get(), 0, 0);
  whole->split(nullptr, -1, 0);
  part->call("barrier", [](ncclComm_t) { return ncclSuccess; });
  whole->health().poison(Error(ErrorKind::diverged, "enough"));
  EXPECT_EQ(kind_thrown([&] { part->call("barrier", nullptr); }), ErrorKind::diverged);
  take_down(part);
  take_down(whole);
  EXPECT_EQ(fake_nccl().aborted, 2);
}

TEST_F(NcclLinkOf, APartTakesTheDeadlineOfItsRanks) {
  ranks->set_deadline(7s);
  const auto link = opened();
  EXPECT_EQ(link->health().deadline(), 7s);
  take_down(link);
}

TEST_F(NcclLinkOf, TheWatchSeesToAllOfIt) {
  const auto used = opened(), unused = opened();
  Watch& watch = Watch::of_process();
  for (const auto& link : {used, unused}) watch.add(link);
  used->note_recorded();
  fake_nccl().device_stuck = true;
  used->health().set_deadline(1ms);
  unused->health().set_deadline(1ms);
  watch.replayed(/*device=*/1, nullptr);  // of another device
  watch.replayed(/*device=*/0, nullptr);
  while (!used->health().poisoned()) std::this_thread::yield();
  EXPECT_THAT(used->health().reason()->message(), HasSubstr("the collectives of a recorded graph"));
  EXPECT_EQ(kind_thrown([&] { watch.will_replay(/*device=*/0); }), ErrorKind::hang);
  watch.will_replay(/*device=*/1);
  EXPECT_FALSE(unused->health().poisoned());
  for (const auto& link : {used, unused}) link->retire();
  watch.wake();
  while (fake_nccl().aborted + fake_nccl().destroyed < 2) std::this_thread::yield();
  EXPECT_EQ(fake_nccl().aborted, 1);
}

}  // namespace
}  // namespace trireme::cuda
