#include "trainer/run_state.h"

#include <trireme/core/error.h>

#include <mutex>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace trireme::trainer {
namespace {

constexpr const char* generator_name = "rng/default";

/// A tensor the reader may write to without autograd noticing: a parameter's own memory.
at::Tensor storage_of(const at::Tensor& tensor) { return tensor.detach(); }

at::Tensor default_generator_state() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();  // a handle to the one generator
  const std::lock_guard lock(generator.mutex());
  return generator.get_state();
}

}  // namespace

void RunState::save_state(core::StateWriter& out) const {
  out.scalar("run/step", step);
  out.scalar("run/position", position);
  out.scalar("run/tokens", tokens);
  out.scalar("run/global_batch", global_batch);
  out.scalar("run/skipped", skipped);
  for (const core::Parameter& p : parameters_) out.replicated("model/" + p.name, p.tensor.detach());
  for (const core::Parameter& b : buffers_) out.replicated("buffer/" + b.name, b.tensor.detach());
  const at::Tensor generator = default_generator_state();
  const int64_t bytes = generator.numel();
  out.shard(generator_name, {ranks_, bytes}, {{rank_, 0}, {1, bytes}}, generator.reshape({1, bytes}));
}

void RunState::load_state(const core::StateReader& in) {
  step = in.integer("run/step");
  position = in.integer("run/position");
  tokens = in.integer("run/tokens");
  global_batch = in.integer("run/global_batch");
  skipped = in.integer("run/skipped");
  for (const core::Parameter& p : parameters_) in.read_whole("model/" + p.name, storage_of(p.tensor));
  for (const core::Parameter& b : buffers_) in.read_whole("buffer/" + b.name, storage_of(b.tensor));
  const std::vector<int64_t> shape = in.shape(generator_name);
  if (shape[0] != ranks_) return;
  at::Tensor state = at::empty({1, shape[1]}, at::kByte);
  in.read(generator_name, {{rank_, 0}, {1, shape[1]}}, state);
  at::Generator generator = at::detail::getDefaultCPUGenerator();  // a handle to the one generator
  const std::lock_guard lock(generator.mutex());
  generator.set_state(state.reshape({-1}));
}

}  // namespace trireme::trainer
