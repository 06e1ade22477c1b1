#include "cuda/comm/event.h"

#include <trireme/core/error.h>

#include <string>

namespace trireme::cuda {

void check_cuda(cudaError_t result, const char* during) {
  if (result == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // or the next kernel's launch would find it
  throw Error(ErrorKind::environment,
              std::string("CUDA, ") + during + ": " + cudaGetErrorString(result),
              "if an earlier kernel has failed, CUDA_LAUNCH_BLOCKING=1 shows which one");
}

bool is_recording(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(stream, &status), "asking whether a stream is recorded");
  return status != cudaStreamCaptureStatusNone;
}

Event::Event(bool timed) {
  check_cuda(cudaEventCreateWithFlags(&event_, timed ? cudaEventDefault : cudaEventDisableTiming),
             "making an event");
}

Event::~Event() {
  if (cudaEventDestroy(event_) != cudaSuccess) static_cast<void>(cudaGetLastError());
}

void Event::record(cudaStream_t stream) {
  check_cuda(cudaEventRecord(event_, stream), "recording an event");
}

void Event::block(cudaStream_t stream) const {
  check_cuda(cudaStreamWaitEvent(stream, event_, 0), "letting a stream wait");
}

cudaError_t Event::reached() const {
  const cudaError_t result = cudaEventQuery(event_);
  if (result != cudaSuccess) static_cast<void>(cudaGetLastError());
  return result;
}

double Event::milliseconds(const Event& start, const Event& end) {
  float value = 0;
  if (cudaEventElapsedTime(&value, start.event_, end.event_) == cudaSuccess) return value;
  static_cast<void>(cudaGetLastError());
  return 0;
}

}  // namespace trireme::cuda
