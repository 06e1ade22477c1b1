#include "trainer/run_state.h"

#include <trireme/core/fragments.h>

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

/// Reads into the tensor's own memory, past autograd, from the master where that is as exact as the tensor; of another type than
/// what is stored, it is cast: a model is evaluated in other precisions than it was trained in.
void load_into(const checkpoint::Reader& in, const std::string& parameter, const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach();
  const std::string master = "master/" + parameter;
  const std::string name = values.scalar_type() == at::kFloat && in.has(master) ? master : "model/" + parameter;
  if (in.dtype(name) == values.scalar_type()) return in.read_whole(name, values);
  const at::Tensor stored = at::empty(values.sizes(), at::TensorOptions().dtype(in.dtype(name)));
  in.read_whole(name, stored);
  values.copy_(stored);
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

void load_model_state(const checkpoint::Reader& in, const core::ParameterSet& parameters, const core::ParameterSet& buffers) {
  for (const core::Parameter& p : parameters) load_into(in, p.name, p.tensor);
  for (const core::Parameter& b : buffers) in.read_whole("buffer/" + b.name, b.tensor.detach());
}

}  // namespace trireme::trainer
