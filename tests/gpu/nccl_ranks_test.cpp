#include <trireme/core/error.h>
#include <trireme/parallel/gradient_reducer.h>
#include <trireme/parallel/replicas.h>

#include "cuda/comm/nccl_watch.h"
#include "gpu/nccl_support.h"
#include "support/mpi_world.h"

#include <cstdlib>
#include <string>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>

#include <gtest/gtest.h>

// Runs under mpirun with two ranks, who share a GPU if there is only one.
namespace trireme::test {
namespace {

using communicator_cases::kind_thrown;
using communicator_cases::on_device;

int own_gpu() {
  return world().rank() % gpus();
}

/// A communicator for the running test, which may be poisoned.
struct Fresh {
  Fresh() : gpu(own_gpu()), on_host(fresh_communicator()), on_gpu(gpu.communicator(on_host)) {}
  OnGpu gpu;
  comm::CommunicatorPtr on_host, on_gpu;
};

class NcclRanks : public testing::TestWithParam<CommunicatorCase> {};

TEST_P(NcclRanks, agree) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  GetParam().run(*ranks.on_gpu);
}

INSTANTIATE_TEST_SUITE_P(cases, NcclRanks, testing::ValuesIn(device_cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(Nccl, RefusesTwoRanksOnOneGpu) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const OnGpu gpu(0);
  const comm::CommunicatorPtr ranks = fresh_communicator();
  ::unsetenv("TRIREME_SHARE_GPU");
  std::string message;
  EXPECT_EQ(kind_thrown([&] { static_cast<void>(gpu.communicator(ranks)); }, &message),
            ErrorKind::environment);
  ::setenv("TRIREME_SHARE_GPU", "1", 1);
  EXPECT_THAT(message, testing::HasSubstr("ranks 0 and 1 on "));
}

TEST(Nccl, MessagesPassOneWayAfterTheOther) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  const int other = 1 - ranks.on_gpu->rank();
  for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{300'001}}) {
    const at::Tensor sent =
        communicator_cases::values_of(ranks.on_gpu->rank(), at::kFloat, size).to(ranks.gpu.device);
    const at::Tensor received = at::zeros({size}, on_device());
    if (ranks.on_gpu->rank() == 0) {
      ranks.on_gpu->send(sent, other)->wait();
      ranks.on_gpu->recv(received, other)->wait();
    } else {
      ranks.on_gpu->recv(received, other)->wait();
      ranks.on_gpu->send(sent, other)->wait();
    }
    EXPECT_TRUE(communicator_cases::same_bits(
        received, communicator_cases::values_of(other, at::kFloat, size)));
  }
  EXPECT_ANY_THROW(
      static_cast<void>(ranks.on_gpu->send(at::zeros({1}, on_device()), ranks.on_gpu->rank())));
}

TEST(Nccl, TensorsMayGoOnceTheyWereWaitedFor) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  at::Tensor sum = at::zeros({100'000}, on_device());
  for (int i = 0; i < 10; ++i) {
    // Its memory is the next one's, while the device may be far behind the host.
    const at::Tensor values = at::full({100'000}, i + 1.0, on_device());
    ranks.on_gpu->all_reduce(values)->wait();
    sum += values;
  }
  EXPECT_TRUE(at::equal(sum.cpu(), at::full({100'000}, 110.0F)));
}

TEST(Nccl, AWorkThatNobodyWaitsForKeepsItsTensors) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  for (int i = 0; i < 5; ++i)
    static_cast<void>(ranks.on_gpu->all_reduce(at::ones({100'000}, on_device())));
  const at::Tensor values = at::ones({100'000}, on_device());
  ranks.on_gpu->all_reduce(values)->wait();
  EXPECT_TRUE(at::equal(values.cpu(), at::full({100'000}, 2.0F)));
}

TEST(Nccl, IsRecordedAndRepeated) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  const at::Tensor values = at::ones({1000}, on_device());
  ranks.on_gpu->all_reduce(values)->wait();
  c10::cuda::device_synchronize();
  {
    at::cuda::CUDAGraph graph;
    {
      const cuda::Watch::Pause pause;
      graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      ranks.on_gpu->all_reduce(values)->wait();
      values.mul_(0.5);
      values.add_(ranks.on_gpu->rank());
      graph.capture_end();
    }
    for (int i = 0; i < 3; ++i) {
      graph.replay();
      cuda::Watch::of_process().replayed(ranks.gpu.device.index(),
                                         c10::cuda::getCurrentCUDAStream().stream());
    }
    // 2; the mean of both plus the rank: 2, 3 -> 2.5, 3.5 -> 3, 4
    EXPECT_TRUE(
        at::equal(values.cpu(), at::full({1000}, 3.0F + static_cast<float>(ranks.on_gpu->rank()))));
  }
  ranks.on_host->barrier()->wait();
  EXPECT_EQ(ranks.on_gpu->poisoned(), nullptr);
}

TEST(Nccl, ARankThatNeverEntersIsAHang) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  const comm::CommunicatorPtr doomed = ranks.on_gpu->split(0, 0, "doomed");
  const at::Tensor values = at::zeros({300'000}, on_device());
  doomed->all_reduce(values)->wait_on_host();  // ranks are connected
  doomed->set_deadline(std::chrono::seconds(1));
  if (ranks.on_gpu->rank() == 0) {
    const comm::WorkPtr work = doomed->all_reduce(values);
    std::string first, second;
    EXPECT_EQ(kind_thrown([&] { work->wait_on_host(); }, &first), ErrorKind::hang);
    EXPECT_THAT(first,
                testing::HasSubstr("all_reduce of 1200000 bytes, operation 2 of communicator"));
    EXPECT_EQ(kind_thrown([&] { doomed->barrier()->wait(); }, &second), ErrorKind::hang);
    EXPECT_EQ(first, second);
    // The abort lets the device go on.
    c10::cuda::device_synchronize();
  }
  // Through the host first: the stream of the other rank must not wait for what is aborted.
  ranks.on_host->barrier()->wait();
  ranks.on_gpu->barrier()->wait_on_host();
  EXPECT_EQ(ranks.on_gpu->poisoned(), nullptr);
}

TEST(Nccl, PoisonEndsWhatWaitsOnTheDevice) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  const comm::CommunicatorPtr doomed = ranks.on_gpu->split(0, 0, "doomed");
  const comm::CommunicatorPtr child = doomed->split(0, 0, "child");
  doomed->barrier()->wait_on_host();
  child->barrier()->wait_on_host();
  if (ranks.on_gpu->rank() == 1) {
    const comm::WorkPtr work = child->all_reduce(at::zeros({100'000}, on_device()));
    work->wait();
    std::thread poisoner(
        [&] { doomed->poison(Error(ErrorKind::out_of_memory, "no memory on rank 0")); });
    c10::cuda::device_synchronize();
    poisoner.join();
    EXPECT_EQ(kind_thrown([&] { work->wait(); }), ErrorKind::out_of_memory);
    EXPECT_EQ(kind_thrown([&] { static_cast<void>(child->split(0, 0, "grandchild")); }),
              ErrorKind::out_of_memory);
  }
  ranks.on_host->barrier()->wait();
  ranks.on_gpu->barrier()->wait_on_host();
}

TEST(Nccl, PoisonOfTheHostsCommunicatorReachesIt) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  ranks.on_gpu->barrier()->wait_on_host();
  ranks.on_host->poison(Error(ErrorKind::peer_lost, "rank 9 was lost"));
  EXPECT_EQ(kind_thrown([&] { static_cast<void>(ranks.on_gpu->barrier()); }), ErrorKind::peer_lost);
  EXPECT_EQ(ranks.on_gpu->poisoned()->message(), "rank 9 was lost");
}

TEST(Parallel, GradientsOnTheGpuAreSummedAndModelsMadeEqual) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Fresh ranks;
  at::manual_seed(7 + static_cast<uint64_t>(ranks.on_gpu->rank()));
  core::ParameterSet parameters;
  for (int i = 0; i < 3; ++i)
    parameters.push_back(
        {"w" + std::to_string(i), at::randn({32, 32}, on_device()).requires_grad_()});
  parameters.push_back({"idle", at::randn({5}, on_device()).requires_grad_()});
  EXPECT_EQ(parallel::broadcast_parameters(*ranks.on_gpu, parameters, {}), 4);
  EXPECT_EQ(parallel::broadcast_parameters(*ranks.on_gpu, parameters, {}), 0);

  parallel::GradientReducer reducer(ranks.on_gpu, parameters, {2048, 1024, 1024});
  for (int step = 0; step < 5; ++step) {
    std::vector<at::Tensor> expected;
    for (int r = 0; r < 2; ++r) {
      at::Tensor x = at::full({4, 32}, 0.1 * (r + 1), on_device());
      const std::vector<at::Tensor> used{parameters[0].tensor, parameters[1].tensor,
                                         parameters[2].tensor};
      const auto loss_of = [&] {
        at::Tensor y = x;
        for (const at::Tensor& w : used) y = y.mm(w).tanh();
        return y.sum();
      };
      std::vector<at::Tensor> leaves;
      {
        // By hand, on copies: the reducer's hooks must not see it.
        at::Tensor y = x;
        for (const at::Tensor& w : used) leaves.push_back(w.detach().clone().requires_grad_());
        for (const at::Tensor& w : leaves) y = y.mm(w).tanh();
        y.sum().backward();
      }
      for (size_t i = 0; i < leaves.size(); ++i) {
        if (expected.size() <= i) expected.push_back(at::zeros_like(leaves[i]));
        expected[i] = expected[i].detach() + leaves[i].grad();
      }
      if (r != ranks.on_gpu->rank()) continue;
      reducer.begin_backward(true);
      loss_of().backward();
      reducer.end_backward();
    }
    const parallel::ReduceReport report = reducer.finish();
    EXPECT_EQ(report.unused,
              step < 3 ? std::vector<std::string>{"idle"} : std::vector<std::string>{});
    EXPECT_EQ(report.exposed_ns, 0);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_TRUE(at::allclose(parameters[i].tensor.grad(), expected[i], 1e-5, 1e-6))
          << "step " << step << " w" << i;
    for (const at::Tensor& flat : reducer.flat()) flat.zero_();
  }
}

}  // namespace
}  // namespace trireme::test
