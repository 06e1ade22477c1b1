#pragma once

#include <cuda_runtime_api.h>

namespace trireme::cuda {

/// Throws a failure of the CUDA runtime as an Error of kind `environment`.
void check_cuda(cudaError_t result, const char* during);

/// Whether a graph is being recorded from the stream.
[[nodiscard]] bool is_recording(cudaStream_t stream);

/// A point in a stream.
class Event {
 public:
  /// `timed`: it also takes the time. Events of a recorded graph do not.
  explicit Event(bool timed);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream);
  /// What comes next in the stream waits for it.
  void block(cudaStream_t stream) const;
  /// cudaSuccess once it was reached, cudaErrorNotReady before, or what has failed on the device.
  /// Not while the calling thread records, and not for an event that was recorded.
  [[nodiscard]] cudaError_t reached() const;
  /// From `start` to `end`, both timed and reached; 0 where CUDA does not know.
  [[nodiscard]] static double milliseconds(const Event& start, const Event& end);

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace trireme::cuda
