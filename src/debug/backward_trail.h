#pragma once

#include "debug/mishap.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace torch::autograd {
struct Node;
}

namespace trireme::debug {

/// The operations of backwards in the order in which they ran, each with whether what went into it
/// and what came out of it was finite. The flags stay on the device until judge().
class BackwardTrail : public std::enable_shared_from_this<BackwardTrail> {
 public:
  /// Watches all operations of the graph of `loss` (0-dim, before its backward) but those that add
  /// gradients to leaves.
  void watch(const at::Tensor& loss, size_t micro_step);

  struct Culprit {
    std::shared_ptr<torch::autograd::Node> node;
    size_t micro_step = 0;
    size_t position = 0;          ///< among those that ran, from 0
    std::vector<size_t> outputs;  ///< that are not finite
    bool came_in =
        false;  ///< its inputs were not finite either: nothing before it was seen to spoil them
  };
  struct Verdict {
    size_t executed = 0;
    std::vector<Culprit>
        culprits;  ///< one at most: the first with finite inputs, else the first at all
  };
  /// After the backwards; waits for the device once, throws what looking threw, and forgets the
  /// operations.
  [[nodiscard]] Verdict judge();
  void clear();

 private:
  class Hook;
  struct Executed {
    std::shared_ptr<torch::autograd::Node> node;
    size_t micro_step;
    size_t first_flag, inputs, outputs;  // flags of the inputs, then of the outputs
    std::vector<size_t> output_numbers;  // of those that are tensors
  };
  void add(const std::shared_ptr<torch::autograd::Node>& node, size_t micro_step,
           const std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& inputs);

  std::mutex mutex_;
  std::vector<Executed> executed_;
  std::vector<at::Tensor> flags_;
  Mishap mishap_;
};

/// The functions of the program in which the operation was called in forward, innermost first;
/// empty unless LibTorch's anomaly mode was on then, and where the program's symbols cannot be
/// seen.
[[nodiscard]] std::vector<std::string> forward_stack(torch::autograd::Node& node);

/// While any lives, new operations remember the stack of their forward. For the whole process, as
/// LibTorch has it.
class RememberedStacks {
 public:
  RememberedStacks();
  ~RememberedStacks();
  RememberedStacks(const RememberedStacks&) = delete;
  RememberedStacks& operator=(const RememberedStacks&) = delete;
};

}  // namespace trireme::debug
