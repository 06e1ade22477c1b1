#include "debug/leaf_hooks.h"

#include <torch/csrc/autograd/variable.h>

namespace trireme::debug {

namespace {

/// LibTorch empties the place of a hook that is removed, but keeps it: a tensor whose hooks come
/// and go would pay for all that ever were. Empty places at the end belong to nobody.
void forget_empty_places(const at::Tensor& leaf) {
  const torch::autograd::AutogradMeta* const meta = torch::autograd::impl::get_autograd_meta(leaf);
  if (meta == nullptr || !meta->cpp_hooks_list_) return;
  auto& places = *meta->cpp_hooks_list_;
  while (!places.empty() && !places.back()) places.pop_back();
}

}  // namespace

void LeafHooks::add(const at::Tensor& leaf, std::function<void(const at::Tensor&)> callback) {
  hooks_.emplace_back(leaf, leaf.register_hook(std::move(callback)));
}

LeafHooks::~LeafHooks() {
  for (const auto& [leaf, position] : hooks_) leaf.remove_hook(position);
  for (const auto& [leaf, position] : hooks_) forget_empty_places(leaf);
}

}  // namespace trireme::debug
