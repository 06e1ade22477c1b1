#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::autograd {

using RegionForward = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

/// forward(inputs), of which autograd keeps nothing but the inputs: the first time backward needs a
/// tensor that the region saved, the region is computed once more, up to the last tensor that is
/// needed (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). Gradients are
/// bit-equal. Regions nest; without gradient mode this is forward(inputs).
///
/// `forward` is kept, with what it captures by reference, until the region's backward is over. It
/// must compute the same twice from its inputs and the parameters: autocast and the default random
/// generators are brought back for it (a generator is the process's, so threads that share one must
/// not draw from it in regions), anything else is its own affair; see recomputing(). It must not
/// run a backward itself. Inputs may be undefined tensors. Leaves that require grad (parameters)
/// and their views are kept as they are, wherever they are saved, and may be changed in place;
/// inputs go through the SavedTensorScope around the call.
///
/// backward throws Error `plugin_failed`, naming the region, if the second time saves other tensors
/// than the first or if an input was changed in place in between. What `forward` throws reaches the
/// caller of backward. The forward is left by an exception when enough is computed: it should
/// catch only what it knows.
[[nodiscard]] std::vector<at::Tensor> recomputed(const std::string& name,
                                                 const RegionForward& forward,
                                                 const std::vector<at::Tensor>& inputs);

/// A part of a unit that costs little next to what its result would take until backward, e.g. a
/// norm or an activation function and the matrix product that follows: recomputed, up to what the
/// product keeps, while a SelectiveScope is open on this thread; else forward(inputs). Call it from
/// Block::forward.
[[nodiscard]] std::vector<at::Tensor> cheap_part(const std::string& name,
                                                 const RegionForward& forward,
                                                 const std::vector<at::Tensor>& inputs);
/// The same for one input and one output.
[[nodiscard]] at::Tensor cheap_part(const std::string& name,
                                    const std::function<at::Tensor(const at::Tensor&)>& forward,
                                    const at::Tensor& input);

class SelectiveScope {
 public:
  explicit SelectiveScope(bool on);
  /// Whether cheap parts are recomputed on this thread now.
  [[nodiscard]] static bool open();
  ~SelectiveScope();
  SelectiveScope(const SelectiveScope&) = delete;
  SelectiveScope& operator=(const SelectiveScope&) = delete;

 private:
  bool before_;
};

/// Whether this thread computes a region for the second time: what counts or averages over calls
/// (running statistics) must not do so again.
[[nodiscard]] bool recomputing();

}  // namespace trireme::autograd
