#include <trireme/comm/local.h>
#include <trireme/core/error.h>

#include "cuda/comm/nccl_link.h"
#include "cuda/comm/nccl_watch.h"
#include "cuda/comm/nccl_words.h"
#include "gpu/nccl_support.h"
#include "support/spawn_ranks.h"

#include <string>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>

#include <gmock/gmock.h>

namespace trireme::test {
namespace {

using cuda::nccl_error;
using testing::HasSubstr;

TEST(NcclWords, NameTypesAndReductions) {
  EXPECT_EQ(cuda::nccl_type(at::kFloat, true), ncclFloat32);
  EXPECT_EQ(cuda::nccl_type(at::kDouble, true), ncclFloat64);
  EXPECT_EQ(cuda::nccl_type(at::kBFloat16, true), ncclBfloat16);
  EXPECT_EQ(cuda::nccl_type(at::kHalf, true), ncclFloat16);
  EXPECT_EQ(cuda::nccl_type(at::kLong, true), ncclInt64);
  EXPECT_EQ(cuda::nccl_type(at::kByte, false), ncclUint8);
  EXPECT_THROW(static_cast<void>(cuda::nccl_type(at::kByte, true)), Error);
  EXPECT_THROW(static_cast<void>(cuda::nccl_type(at::kBool, false)), Error);
  EXPECT_EQ(cuda::nccl_operation(comm::ReduceOp::sum), ncclSum);
  EXPECT_EQ(cuda::nccl_operation(comm::ReduceOp::max), ncclMax);
  EXPECT_EQ(cuda::nccl_operation(comm::ReduceOp::min), ncclMin);
}

TEST(NcclWords, TellWhatFailedAndWhatToDo) {
  for (int result = ncclUnhandledCudaError; result < ncclInProgress; ++result) {
    const Error error =
        nccl_error(static_cast<ncclResult_t>(result), "split on rank 3 of world", "the detail");
    EXPECT_THAT(error.message(), HasSubstr("NCCL, split on rank 3 of world: "));
    EXPECT_THAT(error.message(), HasSubstr("(the detail)"));
    EXPECT_THAT(error.hint(), testing::Not(testing::IsEmpty()));
  }
  EXPECT_EQ(nccl_error(ncclRemoteError, "x", "").kind(), ErrorKind::peer_lost);
  EXPECT_EQ(nccl_error(ncclSystemError, "x", "").kind(), ErrorKind::environment);
  EXPECT_EQ(nccl_error(ncclInternalError, "x", "").kind(), ErrorKind::unexpected);
  EXPECT_THAT(nccl_error(ncclInternalError, "x", "").message(), testing::Not(HasSubstr("(")));
}

TEST(NcclWords, AcceptALibraryOfTheSameRelease) {
  EXPECT_EQ(cuda::nccl_version_text(22809), "2.28.9");
  EXPECT_TRUE(cuda::nccl_version_fits(NCCL_VERSION_CODE));
  EXPECT_FALSE(cuda::nccl_version_fits(NCCL_VERSION_CODE + 100));
  EXPECT_FALSE(cuda::nccl_version_fits(NCCL_VERSION_CODE - 10000));
  int loaded = 0;
  ASSERT_EQ(ncclGetVersion(&loaded), ncclSuccess);
  EXPECT_TRUE(cuda::nccl_version_fits(loaded)) << loaded;
}

TEST(Nccl, ADeviceThatIsNotThereIsRefusedOnAllRanks) {
  cuda::register_nccl();
  spawn_ranks(2, [](const comm::CommunicatorPtr& ranks) {
    std::string message;
    EXPECT_EQ(
        communicator_cases::kind_thrown(
            [&] {
              static_cast<void>(comm::make_device_communicator(ranks, c10::Device(c10::kCUDA, 99)));
            },
            &message),
        ErrorKind::environment);
    EXPECT_THAT(message, HasSubstr("rank 0 on "));
    EXPECT_THAT(message, HasSubstr("CUDA device 99"));
    EXPECT_EQ(ranks->poisoned(), nullptr);
    ranks->barrier()->wait();
  });
}

// Without a GPU NCCL opens its meeting point and fails to join.
TEST(Nccl, AFailureToJoinIsAnErrorAndPoisons) {
  const comm::CommunicatorPtr ranks = comm::make_local_communicator();
  const auto link = std::make_shared<cuda::NcclLink>(ranks, 0, nullptr);
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  if (gpus() > 0) {
    EXPECT_NO_THROW(link->open(id));
  } else {
    std::string message;
    EXPECT_EQ(communicator_cases::kind_thrown([&] { link->open(id); }, &message),
              ErrorKind::environment);
    EXPECT_THAT(message, HasSubstr("joining the ranks on rank 0 of world"));
    EXPECT_EQ(communicator_cases::kind_thrown([&] { link->call("all_reduce", nullptr); }, nullptr),
              ErrorKind::environment);
    EXPECT_EQ(ranks->poisoned(), nullptr);
  }
  link->retire();
  cuda::Watch::of_process().add(link);
}

TEST(Nccl, PoisonOfTheHostsCommunicatorReachesIt) {
  const comm::CommunicatorPtr ranks = comm::make_local_communicator();
  const auto link = std::make_shared<cuda::NcclLink>(ranks, 0, nullptr);
  cuda::Watch::of_process().add(link);
  ranks->poison(Error(ErrorKind::peer_lost, "rank 9 was lost"));
  // The watch finds it without anybody asking.
  while (!link->health().poisoned()) std::this_thread::yield();
  EXPECT_EQ(link->health().reason()->message(), "rank 9 was lost");
  EXPECT_EQ(communicator_cases::kind_thrown([&] { link->throw_if_poisoned(); }),
            ErrorKind::peer_lost);
  link->retire();
}

class NcclCommunicator : public testing::TestWithParam<CommunicatorCase> {};

TEST_P(NcclCommunicator, does) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const OnGpu gpu(0);
  GetParam().run(*gpu.communicator(comm::make_local_communicator()));
}

INSTANTIATE_TEST_SUITE_P(cases, NcclCommunicator, testing::ValuesIn(device_cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(Nccl, IsRecordedIntoAGraph) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const OnGpu gpu(0);
  const comm::CommunicatorPtr ranks = gpu.communicator(comm::make_local_communicator());
  const at::Tensor values = at::ones({1000}, communicator_cases::on_device());
  ranks->all_reduce(values)->wait();
  c10::cuda::device_synchronize();
  {
    at::cuda::CUDAGraph graph;
    {
      const cuda::Watch::Pause pause;
      graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      values.mul_(2);
      const comm::WorkPtr work = ranks->all_reduce(values);
      EXPECT_FALSE(work->done());
      work->wait();
      EXPECT_EQ(work->busy_ns(), 0);
      values.add_(1);
      graph.capture_end();
    }
    for (int i = 0; i < 2; ++i) {
      graph.replay();
      cuda::Watch::of_process().replayed(0, c10::cuda::getCurrentCUDAStream().stream());
    }
    EXPECT_TRUE(at::equal(values.cpu(), at::full({1000}, 7.0F)));
  }
  EXPECT_EQ(ranks->poisoned(), nullptr);
}

TEST(Nccl, WhatBeganOutsideOfARecordingIsNotWaitedForInside) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const OnGpu gpu(0);
  const comm::CommunicatorPtr ranks = gpu.communicator(comm::make_local_communicator());
  const at::Tensor values = at::ones({1000}, communicator_cases::on_device());
  const comm::WorkPtr before = ranks->all_reduce(values);
  at::cuda::CUDAGraph graph;
  {
    const cuda::Watch::Pause pause;
    graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    values.mul_(2);
    EXPECT_EQ(communicator_cases::kind_thrown([&] { before->wait(); }), ErrorKind::environment);
    graph.capture_end();
  }
  before->wait();
}

}  // namespace
}  // namespace trireme::test
