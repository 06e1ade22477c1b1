#pragma once

#include <trireme/device/backend.h>

#include "emulated.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::emulated {

/// Tests of one device, on a stream that can be recorded.
class AcceleratorTest : public testing::Test {
 protected:
  AcceleratorTest() { backend().use(0); }
  static device::Backend& backend() { return device::load_backend("emulated"); }

  const c10::Device device_{device_type, 0};
};

inline ::testing::AssertionResult same_bits(const at::Tensor& on_device,
                                            const at::Tensor& expected) {
  if (on_device.device().type() != device_type)
    return testing::AssertionFailure() << "is on " << on_device.device();
  const at::Tensor host = on_device.cpu();
  if (host.scalar_type() != expected.scalar_type() || host.sizes() != expected.sizes())
    return testing::AssertionFailure() << "is " << host.toString() << host.sizes() << ", not "
                                       << expected.toString() << expected.sizes();
  if (at::equal(host, expected)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << host << "\nis not\n" << expected;
}

}  // namespace trireme::emulated
