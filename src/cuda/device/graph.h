#pragma once

#include <trireme/device/backend.h>

#include <ATen/cuda/CUDAGraph.h>

namespace trireme::cuda {

/// A CUDA graph with memory of its own in LibTorch's allocator. Numbers that LibTorch's generator draws are fresh in every replay.
class CudaGraph final : public device::Graph {
 public:
  explicit CudaGraph(int index) : index_(index) {}
  void record(const std::function<void()>& body) override;
  void replay() override;

 private:
  class Recording final : public at::cuda::CUDAGraph {
   public:
    /// After a failure at any point of a capture: leaves stream, allocators and generators as if it had not begun.
    void abandon() noexcept;
  };
  int index_;
  bool recorded_ = false;
  Recording graph_;
};

}  // namespace trireme::cuda
