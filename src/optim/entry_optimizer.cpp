#include "optim/entry_optimizer.h"

#include <trireme/core/error.h>
#include <trireme/core/fragments.h>

#include "optim/state_plan.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace trireme::optim {

namespace {

constexpr int64_t alignment_bytes = 64;

void check_config(const OptimConfig& config) {
  const bool moments = config.name != "sgd" && config.name != "adagrad";
  const auto is_decay = [](double beta) {
    return beta >= 0.0 && beta < 1.0;
  };
  if (moments && (config.betas.size() != 2 || !std::ranges::all_of(config.betas, is_decay)))
    throw Error(ErrorKind::configuration, "optim.betas: two numbers from 0 to below 1 are needed",
                "for example [0.9, 0.95]");
  if (config.name == "sgd" && config.nesterov && config.momentum == 0.0)
    throw Error(ErrorKind::configuration,
                "optim.nesterov: there is no momentum to look ahead along",
                "set optim.momentum, or nesterov: false");
}

void check_parameter(const OptimConfig& config, const core::Parameter& p) {
  const at::ScalarType type = p.tensor.scalar_type();
  if (type != at::kFloat && type != at::kBFloat16 && type != at::kHalf)
    throw Error(ErrorKind::configuration,
                "parameter '" + p.name + "' is of type " + c10::toString(type) +
                    "; the optimizer takes float32, bfloat16 and float16",
                "freeze it with optim.groups, or build the model in one of these types");
  if (type == at::kHalf && !config.masters)
    throw Error(ErrorKind::configuration,
                "optim.masters: false is for bfloat16 parameters, and '" + p.name +
                    "' is float16, in whose range small updates are lost",
                "set optim.masters: true, or precision.compute: bf16");
  check(p.tensor.is_non_overlapping_and_dense(), "parameters are dense in memory");
}

ops::UpdateRule rule_of(const OptimConfig& config) {
  using Kind = ops::UpdateRule::Kind;
  ops::UpdateRule rule;
  if (config.name == "sgd")
    rule.kind = config.momentum > 0.0 ? Kind::momentum_sgd : Kind::sgd;
  else if (config.name == "adagrad")
    rule.kind = Kind::adagrad;
  else if (config.name == "adam")
    rule.kind = Kind::adam;
  else if (config.name == "lion")
    rule.kind = Kind::lion;
  else
    rule.kind = config.name == "lamb" ? Kind::lamb : Kind::adamw;
  if (config.betas.size() == 2) {
    rule.beta1 = config.betas[0];
    rule.beta2 = config.betas[1];
  }
  rule.eps = config.eps;
  rule.momentum = config.momentum;
  rule.nesterov = config.nesterov;
  return rule;
}

}  // namespace

EntryOptimizer::EntryOptimizer(const OptimConfig& config, const core::ParameterSet& parameters)
    : slot_names_(slot_names(config)) {
  check_config(config);
  rule_ = rule_of(config);
  const std::vector<ParameterSettings> wanted = plan_groups(config, parameters);
  std::vector<at::Tensor> tensors, with_master;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (wanted[i].frozen) continue;
    check_parameter(config, parameters[i]);
    const auto known = std::ranges::find(settings_, wanted[i]);
    const auto index = static_cast<size_t>(known - settings_.begin());
    if (known == settings_.end()) settings_.push_back(wanted[i]);
    entries_.push_back({parameters[i], index, {}, {}});
    tensors.push_back(parameters[i].tensor);
    check(tensors.back().device() == tensors.front().device(), "parameters are on one device");
    if (has_master(config, parameters[i].tensor.scalar_type()))
      with_master.push_back(parameters[i].tensor);
  }
  for (size_t s = 0; s < slot_names_.size(); ++s) {
    const std::vector<at::Tensor> slots = tensors_like(tensors, slot_type(config));
    for (size_t i = 0; i < entries_.size(); ++i) entries_[i].slots.push_back(slots[i]);
  }
  const std::vector<at::Tensor> masters = tensors_like(with_master, at::kFloat);
  auto next = masters.begin();
  for (Entry& entry : entries_)
    if (has_master(config, entry.parameter.tensor.scalar_type())) entry.master = *next++;
  steps_ = at::zeros({}, at::TensorOptions(at::kLong).device(
                             tensors.empty() ? at::Device(at::kCPU) : tensors.front().device()));
  EntryOptimizer::parameters_changed();
}

void EntryOptimizer::parameters_changed() {
  const at::NoGradGuard no_grad;
  for (Entry& entry : entries_)
    if (entry.master.defined()) entry.master.copy_(entry.parameter.tensor);
}

std::vector<at::Tensor> EntryOptimizer::precise(const core::ParameterSet& parameters) const {
  std::vector<at::Tensor> values;
  for (const core::Parameter& parameter : parameters) {
    const auto entry = std::ranges::find_if(entries_, [&](const Entry& one) {
      return one.master.defined() && one.parameter.name == parameter.name;
    });
    values.push_back(entry == entries_.end() ? parameter.tensor.detach() : entry->master);
  }
  return values;
}

void EntryOptimizer::mark_changed() const {
  for (const Entry& entry : entries_) entry.parameter.tensor.unsafeGetTensorImpl()->bump_version();
}

void EntryOptimizer::save_state(core::StateWriter& out) const {
  out.scalar("optim/steps", steps_.item<int64_t>());
  for (const Entry& entry : entries_) {
    const std::string& name = entry.parameter.name;
    if (entry.master.defined())
      core::save_values(out, "master/" + name, entry.parameter, entry.master);
    for (size_t s = 0; s < slot_names_.size(); ++s)
      core::save_values(out, "optim/" + slot_names_[s] + "/" + name, entry.parameter,
                        entry.slots[s]);
  }
}

void EntryOptimizer::load_state(const core::StateReader& in) {
  const at::NoGradGuard no_grad;
  steps_.fill_(in.integer("optim/steps"));
  for (Entry& entry : entries_) {
    const std::string& name = entry.parameter.name;
    for (size_t s = 0; s < slot_names_.size(); ++s)
      core::load_values(in, "optim/" + slot_names_[s] + "/" + name, entry.parameter,
                        entry.slots[s]);
    if (!entry.master.defined()) continue;
    // A checkpoint of a float32 run, or of one without masters, has none: the parameter that was
    // loaded from it is all there is.
    if (in.has("master/" + name)) {
      core::load_values(in, "master/" + name, entry.parameter, entry.master);
      entry.parameter.tensor.copy_(entry.master);
    } else {
      entry.master.copy_(entry.parameter.tensor);
    }
  }
}

void check_gradient(const core::Parameter& parameter) {
  const at::Tensor& values = parameter.tensor;
  const at::Tensor& gradient = values.grad();
  if (!gradient.defined() || gradient.scalar_type() != at::kFloat ||
      gradient.sizes() != values.sizes() || gradient.strides() != values.strides())
    throw Error(ErrorKind::unexpected,
                "parameter '" + parameter.name +
                    "' has no float32 gradient laid out like itself when the optimizer steps",
                "bind the gradients with parallel::GradientReducer and never replace them");
}

core::RandomKey rounding_key(const core::Parameter& parameter) {
  return core::RandomKey().fold("optimizer rounding").fold(parameter.name);
}

int64_t first_element(const core::Parameter& parameter) {
  return parameter.fragment ? parameter.fragment->begin : 0;
}

std::vector<at::Tensor> tensors_like(const std::vector<at::Tensor>& models, at::ScalarType type) {
  const int64_t alignment = alignment_bytes / static_cast<int64_t>(c10::elementSize(type));
  std::vector<int64_t> offsets;
  int64_t total = 0;
  for (const at::Tensor& model : models) {
    offsets.push_back(total);
    total += (model.numel() + alignment - 1) / alignment * alignment;
  }
  std::vector<at::Tensor> made;
  if (models.empty()) return made;
  const at::Tensor flat =
      at::zeros({total}, models.front().options().dtype(type).requires_grad(false));
  for (size_t i = 0; i < models.size(); ++i)
    made.push_back(flat.as_strided(models[i].sizes(), models[i].strides(), offsets[i]));
  return made;
}

}  // namespace trireme::optim
