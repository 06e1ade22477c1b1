#pragma once

#include "cuda/blas/linear_products.h"

#include <compare>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <ATen/core/Tensor.h>

#include <cublasLt.h>

namespace trireme::cuda {

/// Matrix products by cuBLASLt. Each kind of call is planned once and remembered: its descriptors, and the algorithm that the
/// library's heuristic puts first or, while autotune is on, that was fastest of the first 8 on the operands at hand; an epilogue
/// that then takes longer than what it saves is refused. Bits are the same for the same plan: algorithms that add up in an order
/// of their own are not asked for. Thread-safe; can be recorded in a graph, where nothing is timed.
class BlasLt final : public MatrixProducts {
 public:
  BlasLt();
  ~BlasLt() override;
  [[nodiscard]] bool run(const Product& product, const Operands& operands) override;
  /// For plans made from now on, and those made without it. Timing waits for the device.
  void set_autotune(bool on);

 private:
  struct Plan;
  /// What plans depend on. Alignments are powers of 2 in bytes, at most 256.
  struct Key {
    Product product;
    int device;
    int a, b, d, bias, aux;
    auto operator<=>(const Key&) const = default;
  };
  Plan& planned(cublasLtHandle_t handle, const Key& key, const Operands& operands, void* workspace);
  /// Whether this epilogue, `milliseconds` with its product, beats the product alone and kernels behind it.
  bool is_worth_fusing(cublasLtHandle_t handle, Key key, Operands operands, void* workspace, float milliseconds);
  void* workspace();

  std::mutex mutex_;  // descriptors hold the addresses of the call that is being enqueued
  bool autotune_ = false;
  std::map<Key, std::unique_ptr<Plan>> plans_;
  // One a device and stream, whose calls follow one another.
  std::map<std::pair<int, const void*>, at::DataPtr> workspaces_;
};

}  // namespace trireme::cuda
