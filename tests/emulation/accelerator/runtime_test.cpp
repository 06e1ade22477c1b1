#include <trireme/core/error.h>

#include "accelerator_test.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

namespace trireme::emulated {
namespace {

class Runtime : public AcceleratorTest {
 protected:
  c10::impl::VirtualGuardImpl guard_{device_type};
};

TEST_F(Runtime, LibTorchKnowsTheDevice) {
  EXPECT_EQ(device_.str(), "emulated:0");
  EXPECT_EQ(at::getAccelerator(), device_type);
  EXPECT_EQ(at::accelerator::deviceCount(), backend().devices().size());
  EXPECT_EQ(&backend(), device::backend_of(device_type));
  at::accelerator::setDeviceIndex(1);
  EXPECT_EQ(at::zeros({1}, at::device(device_type)).device().index(), 1);
  at::accelerator::setDeviceIndex(0);
  EXPECT_EQ(at::zeros({1}, at::device(device_type)).device().index(), 0);
  EXPECT_THROW(at::accelerator::setDeviceIndex(77), c10::Error);
}

TEST_F(Runtime, ADeviceInUseHasAStreamOfItsOwn) {
  EXPECT_NE(guard_.getStream(device_), guard_.getDefaultStream(device_));
  const c10::Stream before = guard_.getStream(device_),
                    other = guard_.getStreamFromGlobalPool(device_);
  EXPECT_NE(before, other);
  {
    const c10::StreamGuard scope(other);
    EXPECT_EQ(guard_.getStream(device_), other);
  }
  EXPECT_EQ(guard_.getStream(device_), before);
}

TEST_F(Runtime, EventsAreReachedAtOnce) {
  c10::Event first(device_type, c10::EventFlag::BACKEND_DEFAULT),
      second(device_type, c10::EventFlag::BACKEND_DEFAULT);
  EXPECT_TRUE(first.query());
  first.record(guard_.getStream(device_));
  second.record(guard_.getStream(device_));
  second.block(guard_.getStreamFromGlobalPool(device_));
  EXPECT_TRUE(second.query());
  EXPECT_GE(first.elapsedTime(second), 0);
  const int64_t before = host_syncs();
  second.synchronize();
  guard_.getStream(device_).synchronize();
  at::accelerator::synchronizeDevice(0);
  EXPECT_EQ(host_syncs(), before + 3);
}

TEST_F(Runtime, MemoryIsCounted) {
  c10::DeviceAllocator& allocator = *at::getDeviceAllocator(device_type);
  const auto allocated = [&] {
    return allocator.getDeviceStats(0).allocated_bytes[0];
  };
  const int64_t before = allocated().current;
  {
    const at::Tensor x = at::zeros({1000}, device_);
    EXPECT_EQ(allocated().current, before + 4000);
  }
  EXPECT_EQ(allocated().current, before);
  EXPECT_GE(allocated().peak, before + 4000);
  allocator.resetPeakStats(0);
  EXPECT_EQ(allocated().peak, before);
  allocator.emptyCache();
}

TEST_F(Runtime, MemoryEnds) {
  backend().apply({.memory_fraction = 1e-4}, 0);
  EXPECT_THROW(static_cast<void>(at::empty({1 << 28}, device_)), c10::OutOfMemoryError);
  backend().apply({}, 0);
  EXPECT_EQ(at::getDeviceAllocator(device_type)->getDeviceStats(0).num_ooms, 1);
}

TEST_F(Runtime, MemoryOfTheHostIsPinned) {
  const at::Tensor pinned = at::empty({4}, at::TensorOptions().pinned_memory(true));
  EXPECT_TRUE(pinned.is_cpu());
  EXPECT_TRUE(pinned.is_pinned());
  EXPECT_FALSE(at::empty({4}).is_pinned());
  EXPECT_TRUE(at::ones({4}).pin_memory().is_pinned());
  EXPECT_TRUE(pinned.narrow(0, 1, 2).is_pinned());
}

TEST_F(Runtime, WhatMakesTheHostWaitIsCounted) {
  const at::Tensor x = at::ones({4}, device_), pinned = at::ones({4}).pin_memory(),
                   pageable = at::ones({4});
  const auto syncs_of = [](const auto& f) {
    const int64_t before = host_syncs();
    f();
    return host_syncs() - before;
  };
  EXPECT_EQ(syncs_of([&] { x.copy_(pinned, /*non_blocking=*/true); }), 0);
  EXPECT_EQ(syncs_of([&] { pinned.copy_(x, /*non_blocking=*/true); }), 0);
  EXPECT_EQ(syncs_of([&] { x.copy_(pinned); }), 1);
  EXPECT_EQ(syncs_of([&] { x.copy_(pageable, /*non_blocking=*/true); }), 1);
  EXPECT_EQ(syncs_of([&] { x.cpu(); }), 1);
  EXPECT_EQ(syncs_of([&] { x[0].item(); }), 1);
  EXPECT_EQ(syncs_of([&] { (x > 0).nonzero(); }), 1);
  EXPECT_EQ(syncs_of([&] { static_cast<void>(at::equal(x, x)); }), 1);
  EXPECT_EQ(syncs_of([&] { (x + x).mul_(2).sum().clone().to(at::kDouble); }), 0);
  EXPECT_EQ(
      syncs_of([&] { static_cast<void>(x.mean().square().requires_grad_().sigmoid().backward()); }),
      0);
}

TEST_F(Runtime, WaitsCanBeForbidden) {
  const at::Tensor x = at::ones({4}, device_);
  {
    const ForbidSyncs forbid;
    EXPECT_NO_THROW(static_cast<void>(x * 2));
    EXPECT_THROW(static_cast<void>(x.sum().item()), Error);
    EXPECT_THROW(static_cast<void>(x.cpu()), Error);
  }
  EXPECT_EQ(x.sum().item<float>(), 4);
}

}  // namespace
}  // namespace trireme::emulated
