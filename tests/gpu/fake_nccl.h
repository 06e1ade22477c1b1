#pragma once

#include <atomic>
#include <functional>

#include <nccl.h>

namespace trireme::test {

/// The functions of NCCL and of the CUDA runtime that a link calls, as tests want them to behave.
/// They stand in for the libraries: a program that links them links neither.
struct FakeNccl {
  std::atomic<ncclResult_t> returned{ncclSuccess};  ///< by what makes communicators
  std::atomic<ncclResult_t> background{
      ncclSuccess};               ///< what NCCL says of its work when it is asked
  std::atomic<int> questions{0};  ///< so often it was asked
  std::function<void(int question)> asked = [](int) {
  };
  std::atomic<bool> device_stuck{false};  ///< events are not reached; an abort frees the device
  std::atomic<cudaError_t> device_error{cudaSuccess};
  std::atomic<int> aborted{0}, destroyed{0}, events_asked{0};
};
/// Of the running test.
FakeNccl& fake_nccl();
void reset_fake_nccl();

}  // namespace trireme::test
