#pragma once

#include <functional>
#include <memory>

#include <ATen/core/Tensor.h>

namespace trireme::autograd {

namespace detail {
struct GradientCallback;
}

/// Keeps a callback registered; unregisters when destroyed, also from inside a callback and after
/// the tensor is gone.
class GradientHook {
 public:
  GradientHook() = default;
  ~GradientHook();
  GradientHook(GradientHook&& other) noexcept;
  GradientHook& operator=(GradientHook&& other) noexcept;

  void remove() noexcept;
  [[nodiscard]] bool active() const { return callback_ != nullptr; }

 private:
  friend GradientHook on_gradient_accumulated(const at::Tensor&,
                                              std::function<void(const at::Tensor&)>);
  explicit GradientHook(std::shared_ptr<detail::GradientCallback> callback);
  std::shared_ptr<detail::GradientCallback> callback_;
};

/// Calls `callback` with the parameter (not its gradient) each time a backward has accumulated the
/// parameter's gradient: once a backward however often the parameter was used, not at all if it was
/// unused. Any number of callbacks share a parameter, in the order of their registration. They run
/// inside backward() with gradient mode off, on CUDA on the engine's device thread and the stream
/// of the forward operation; they must not call backward and must hold no lock that a caller of
/// backward holds. What a callback throws reaches the caller of backward() with its type; later
/// callbacks of that backward do not run.
[[nodiscard]] GradientHook on_gradient_accumulated(const at::Tensor& parameter,
                                                   std::function<void(const at::Tensor&)> callback);

}  // namespace trireme::autograd
