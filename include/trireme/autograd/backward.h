#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

namespace trireme::autograd {

/// Makes the process's one engine ours. Call before the first forward; more calls, from any thread,
/// do nothing.
void install_engine();

/// The one place that runs the engine: accumulates d(loss * scale)/dp into every leaf's gradient
/// and frees the graph. `loss` is 0-dim and must require grad. The second form takes the scale as a
/// 0-dim tensor on the loss's device.
void backward(const at::Tensor& loss, double scale = 1.0);
void backward(const at::Tensor& loss, const at::Tensor& scale);

/// Runs `callback` at the end of the backward under way, after all of its gradient hooks: the place
/// to settle what did not arrive, such as unused parameters. Call from inside a hook only.
void queue_final_callback(std::function<void()> callback);

}  // namespace trireme::autograd
