#pragma once

#include <functional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::debug {

/// Callbacks on the gradients that arrive at leaves: once a backward with the sum over all uses,
/// before it is added to the leaf's gradient and so before anything is reduced. The gradient need
/// not be dense. Away when destroyed, which must not be during a backward, nor while another thread
/// registers hooks of the same leaves.
class LeafHooks {
 public:
  LeafHooks() = default;
  ~LeafHooks();
  LeafHooks(const LeafHooks&) = delete;
  LeafHooks& operator=(const LeafHooks&) = delete;

  void add(const at::Tensor& leaf, std::function<void(const at::Tensor&)> callback);

 private:
  std::vector<std::pair<at::Tensor, unsigned>> hooks_;
};

}  // namespace trireme::debug
