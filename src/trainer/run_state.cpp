#include "trainer/run_state.h"

#include <trireme/core/fragments.h>

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

/// Reads into the tensor's own memory, past autograd; a master is float32 and is cast.
void load_into(const core::StateReader& in, const std::string& name, const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach();
  const std::string master = "master/" + name, own = "model/" + name;
  if (values.scalar_type() == at::kFloat && in.has(master)) return in.read_whole(master, values);
  in.read_whole(own, values);
}

}  // namespace

void RunState::save_state(core::StateWriter& out) const {
  out.scalar("run/step", step);
  out.scalar("run/position", position);
  out.scalar("run/tokens", tokens);
  out.scalar("run/global_batch", global_batch);
  out.scalar("run/skipped", skipped);
  for (const core::Parameter& p : parameters_) core::save_values(out, "model/" + p.name, p, p.tensor);
  for (const core::Parameter& b : buffers_) core::save_values(out, "buffer/" + b.name, b, b.tensor);
}

void RunState::load_state(const core::StateReader& in) {
  step = in.integer("run/step");
  position = in.integer("run/position");
  tokens = in.integer("run/tokens");
  global_batch = in.integer("run/global_batch");
  skipped = in.integer("run/skipped");
  for (const core::Parameter& p : parameters_) core::load_values(in, "model/" + p.name, p, p.tensor);
  for (const core::Parameter& b : buffers_) core::load_values(in, "buffer/" + b.name, b, b.tensor);
}

void load_model_state(const core::StateReader& in, const core::ParameterSet& parameters, const core::ParameterSet& buffers) {
  for (const core::Parameter& p : parameters) load_into(in, p.name, p.tensor);
  for (const core::Parameter& b : buffers) in.read_whole("buffer/" + b.name, b.tensor.detach());
}

}  // namespace trireme::trainer
