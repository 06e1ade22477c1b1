#include "cuda/device/graph.h"

#include <trireme/core/error.h>

#include "cuda/comm/nccl_watch.h"

#include <string>

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

namespace trireme::cuda {
namespace {

[[nodiscard]] Error cannot_record(const std::string& reason) {
  return {ErrorKind::environment, "the work cannot be recorded as a CUDA graph: " + reason.substr(0, reason.find('\n')),
          "set train.graph: off to go on without one"};
}

/// Cleaning up goes on whatever one part of it says.
template <class F>
void attempt(F&& f) noexcept {
  try {
    f();
  } catch (...) {
    static_cast<void>(cudaGetLastError());
  }
}

}  // namespace

void CudaGraph::Recording::abandon() noexcept {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaGraph_t unfinished = nullptr;
  if (cudaStreamIsCapturing(capture_stream_.stream(), &status) == cudaSuccess && status != cudaStreamCaptureStatusNone &&
      cudaStreamEndCapture(capture_stream_.stream(), &unfinished) == cudaSuccess && unfinished != nullptr)
    cudaGraphDestroy(unfinished);
  static_cast<void>(cudaGetLastError());
  // CUDAGraph itself does this only where a capture ends well; its filter in the allocator would outlive it.
  attempt([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(capture_dev_, mempool_id_); });
  attempt([&] { at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(mempool_id_); });
  for (auto& [state, increment] : captured_generator_states_) {
    state->capturing_ = false;
    state->offset_intragraph_ = 0;
  }
  capture_ended_ = true;  // reset() gives the memory back
  attempt([&] { reset(); });
  capture_ended_ = false;
}

void CudaGraph::record(const std::function<void()>& body) {
  check(!recorded_, "a graph is recorded once");
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index_));
  if (c10::cuda::getCurrentCUDAStream() == c10::cuda::getDefaultCUDAStream())
    throw cannot_record("the current stream is the device's default one");
  // What eager steps left in the allocator's cache serves no recording, and the allocator does not give it back during one.
  c10::cuda::CUDACachingAllocator::emptyCache();
  const Watch::Pause nobody_asks;
  try {
    // Only this thread's unsafe calls end the capture: the threads of the loader go on allocating.
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    body();
    graph_.capture_end();
    recorded_ = true;
  } catch (const Error&) {
    graph_.abandon();
    throw;
  } catch (const c10::OutOfMemoryError&) {
    graph_.abandon();
    throw cannot_record("the device's memory does not hold it beside what is there already");
  } catch (const c10::Error& error) {
    const std::string reason = error.what_without_backtrace();
    graph_.abandon();
    throw cannot_record(reason);
  } catch (const std::exception& error) {
    const std::string reason = error.what();
    graph_.abandon();
    throw cannot_record(reason);
  } catch (...) {
    graph_.abandon();
    throw;
  }
}

void CudaGraph::replay() {
  check(recorded_, "a graph is recorded before it is replayed");
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index_));
  Watch& watch = Watch::of_process();
  watch.will_replay(index_);
  graph_.replay();
  watch.replayed(index_, c10::cuda::getCurrentCUDAStream().stream());
}

}  // namespace trireme::cuda
