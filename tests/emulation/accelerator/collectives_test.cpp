#include <trireme/comm/device_communicator.h>
#include <trireme/comm/local.h>
#include <trireme/comm/thread.h>
#include <trireme/core/error.h>

#include "accelerator_test.h"

#include <thread>
#include <vector>

namespace trireme::emulated {
namespace {

class Collectives : public AcceleratorTest {};

TEST_F(Collectives, MoveMemoryOfDevices) {
  const std::vector<comm::CommunicatorPtr> worlds = comm::make_thread_communicators(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      backend().use(rank);
      const c10::Device device(device_type, static_cast<c10::DeviceIndex>(rank));
      const comm::CommunicatorPtr devices =
          comm::make_device_communicator(worlds[static_cast<size_t>(rank)], device);
      const at::Tensor x = at::full({5}, rank + 1.0, device), all = at::empty({10}, x.options());
      const comm::WorkPtr gathered = devices->all_gather(all, x),
                          summed = devices->all_reduce(x, comm::ReduceOp::sum);
      gathered->wait();
      const int64_t before = host_syncs();
      summed->wait_on_host();
      EXPECT_GT(host_syncs(), before);
      EXPECT_TRUE(same_bits(x, at::full({5}, 3.0F)));
      EXPECT_TRUE(same_bits(all, at::cat({at::full({5}, 1.0F), at::full({5}, 2.0F)})));
      EXPECT_ANY_THROW(static_cast<void>(devices->all_reduce(at::ones({5}), comm::ReduceOp::sum)));
      EXPECT_EQ(devices->split(0, -rank, "part")->rank(), 1 - rank);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Collectives, AreRecorded) {
  const comm::CommunicatorPtr devices =
      comm::make_device_communicator(comm::make_local_communicator(), device_);
  const at::Tensor x = at::ones({3}, device_), all = at::zeros({3}, device_);
  const auto graph = backend().make_graph(0);
  graph->record([&] {
    x.add_(1);
    const comm::WorkPtr work = devices->all_gather(all, x);
    work->wait();
    all.mul_(10);
    EXPECT_THROW(work->wait_on_host(), Error);
  });
  EXPECT_TRUE(same_bits(all, at::zeros({3})));
  graph->replay();
  graph->replay();
  EXPECT_TRUE(same_bits(all, at::full({3}, 30.0F)));
}

}  // namespace
}  // namespace trireme::emulated
