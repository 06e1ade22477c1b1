#include "optim/fused_optimizer.h"

#include <trireme/core/error.h>
#include <trireme/core/fragments.h>

#include "optim/state_plan.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace trireme::optim {

namespace {

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
  if (!p.tensor.is_cpu())
    throw Error(ErrorKind::environment, "parameter '" + p.name + "' is on " +
                                            p.tensor.device().str() +
                                            ", for which no optimizer kernels are loaded");
  check(p.tensor.is_non_overlapping_and_dense(), "parameters are dense in memory");
}

// The elements of a 0-dim tensor of the CPU, without a call into LibTorch.
float value_or(const at::Tensor& scalar, float otherwise) {
  if (!scalar.defined()) return otherwise;
  check(scalar.numel() == 1 && scalar.scalar_type() == at::kFloat && scalar.is_cpu(),
        "step inputs are float32 scalars on the device of the parameters");
  return *scalar.const_data_ptr<float>();
}

}  // namespace

FusedOptimizer::FusedOptimizer(OptimConfig config, const core::ParameterSet& parameters,
                               AddOverShards add_over_shards)
    : config_(std::move(config)),
      add_over_shards_(std::move(add_over_shards)),
      slot_names_(slot_names(config_)) {
  check_config(config_);
  const std::vector<ParameterSettings> wanted = plan_groups(config_, parameters);
  std::vector<at::Tensor> tensors, with_master;
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (wanted[i].frozen) continue;
    check_parameter(config_, parameters[i]);
    const auto known = std::ranges::find(settings_, wanted[i]);
    const auto index = static_cast<size_t>(known - settings_.begin());
    if (known == settings_.end()) settings_.push_back(wanted[i]);
    entries_.push_back({parameters[i], index, {}, {}});
    tensors.push_back(parameters[i].tensor);
    sizes.push_back(parameters[i].tensor.numel());
    if (has_master(config_, parameters[i].tensor.scalar_type()))
      with_master.push_back(parameters[i].tensor);
  }
  chunks_ = plan_chunks(sizes);
  for (size_t s = 0; s < slot_names_.size(); ++s) {
    const std::vector<at::Tensor> slots = tensors_like(tensors, slot_type(config_));
    for (size_t i = 0; i < entries_.size(); ++i) entries_[i].slots.push_back(slots[i]);
  }
  const std::vector<at::Tensor> masters = tensors_like(with_master, at::kFloat);
  auto next = masters.begin();
  for (Entry& entry : entries_)
    if (has_master(config_, entry.parameter.tensor.scalar_type())) entry.master = *next++;
  steps_ = at::zeros({}, at::kLong);
  parameters_changed();
}

void FusedOptimizer::parameters_changed() {
  const at::NoGradGuard no_grad;
  for (Entry& entry : entries_)
    if (entry.master.defined()) entry.master.copy_(entry.parameter.tensor);
}

template <class Work>
void FusedOptimizer::for_each_chunk(const Work& work) const {
  at::parallel_for(0, static_cast<int64_t>(chunks_.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      work(static_cast<size_t>(c), chunks_[static_cast<size_t>(c)]);
  });
}

template <class MakeRule>
void FusedOptimizer::update_all(std::span<const EntryMemory> memory, float gradient_scale,
                                const MakeRule& make_rule) {
  std::vector<decltype(make_rule(settings_.front()))> rules;
  for (const ParameterSettings& settings : settings_) rules.push_back(make_rule(settings));
  for_each_chunk([&](size_t, const Chunk& chunk) {
    const auto& rule = rules[entries_[chunk.entry].settings];
    in_float32(memory[chunk.entry], chunk,
               [&](const Slice& slice) { update(rule, gradient_scale, slice); });
  });
}

void FusedOptimizer::update_lamb(std::span<const EntryMemory> memory, float gradient_scale,
                                 double lr) {
  const double t = static_cast<double>(*steps_.const_data_ptr<int64_t>());
  const double beta1 = config_.betas[0], beta2 = config_.betas[1];
  std::vector<Lamb> rules;
  for (const ParameterSettings& s : settings_)
    rules.push_back({static_cast<float>(s.weight_decay), static_cast<float>(1.0 - beta1),
                     static_cast<float>(beta2), static_cast<float>(1.0 - beta2),
                     static_cast<float>(1.0 / (1.0 - std::pow(beta1, t))),
                     static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t))),
                     static_cast<float>(config_.eps)});
  std::vector<SquareSums> parts(chunks_.size());
  for_each_chunk([&](size_t c, const Chunk& chunk) {
    const Lamb& rule = rules[entries_[chunk.entry].settings];
    in_float32(memory[chunk.entry], chunk, [&](const Slice& slice) {
      parts[c] += advance_moments(rule, gradient_scale, slice);
    });
  });
  std::vector<SquareSums> whole(entries_.size());
  for (size_t c = 0; c < chunks_.size(); ++c) whole[chunks_[c].entry] += parts[c];
  if (add_over_shards_) {
    static_assert(sizeof(SquareSums) == 2 * sizeof(double));
    add_over_shards_(
        at::from_blob(whole.data(), {2 * static_cast<int64_t>(whole.size())}, at::kDouble));
  }
  for_each_chunk([&](size_t, const Chunk& chunk) {
    const SquareSums& sums = whole[chunk.entry];
    const size_t settings = entries_[chunk.entry].settings;
    const double trust =
        sums.values > 0.0 && sums.directions > 0.0 ? std::sqrt(sums.values / sums.directions) : 1.0;
    const auto step_size = static_cast<float>(lr * settings_[settings].lr_scale * trust);
    in_float32(memory[chunk.entry], chunk,
               [&](const Slice& slice) { apply_direction(rules[settings], step_size, slice); });
  });
}

void FusedOptimizer::update_by_rule(std::span<const EntryMemory> memory, float gradient_scale,
                                    double base_lr) {
  const auto narrow = [](double x) {
    return static_cast<float>(x);
  };
  const double t = static_cast<double>(*steps_.const_data_ptr<int64_t>());
  const auto beta = [&](size_t i) {
    return config_.betas[i];
  };
  const auto lr = [&](const ParameterSettings& s) {
    return base_lr * s.lr_scale;
  };
  // Constants are worked out in float64 and rounded once.
  const auto adam = [&]<bool decoupled>(const ParameterSettings& s) {
    return Adam<decoupled>{narrow(decoupled ? 1.0 - lr(s) * s.weight_decay : s.weight_decay),
                           narrow(1.0 - beta(0)),
                           narrow(beta(1)),
                           narrow(1.0 - beta(1)),
                           narrow(lr(s) / (1.0 - std::pow(beta(0), t))),
                           narrow(1.0 / std::sqrt(1.0 - std::pow(beta(1), t))),
                           narrow(config_.eps)};
  };
  if (config_.name == "adamw") {
    update_all(memory, gradient_scale,
               [&](const auto& s) { return adam.template operator()<true>(s); });
  } else if (config_.name == "adam") {
    update_all(memory, gradient_scale,
               [&](const auto& s) { return adam.template operator()<false>(s); });
  } else if (config_.name == "sgd" && config_.momentum > 0.0) {
    const double momentum = config_.momentum;
    update_all(memory, gradient_scale, [&](const auto& s) {
      return MomentumSgd{narrow(lr(s)), narrow(s.weight_decay), narrow(momentum),
                         config_.nesterov ? 1.0F : 0.0F,
                         config_.nesterov ? narrow(momentum) : 1.0F};
    });
  } else if (config_.name == "sgd") {
    update_all(memory, gradient_scale, [&](const auto& s) {
      return Sgd{narrow(lr(s)), narrow(s.weight_decay)};
    });
  } else if (config_.name == "adagrad") {
    update_all(memory, gradient_scale, [&](const auto& s) {
      return Adagrad{narrow(lr(s)), narrow(s.weight_decay), narrow(config_.eps)};
    });
  } else if (config_.name == "lion") {
    update_all(memory, gradient_scale, [&](const auto& s) {
      return Lion{narrow(lr(s)), narrow(1.0 - lr(s) * s.weight_decay), narrow(1.0 - beta(0)),
                  narrow(1.0 - beta(1))};
    });
  } else {
    update_lamb(memory, gradient_scale, base_lr);
  }
}

void FusedOptimizer::step(const StepInputs& inputs) {
  const int64_t next = *steps_.const_data_ptr<int64_t>() + 1;
  std::vector<EntryMemory> memory;
  memory.reserve(entries_.size());
  for (const Entry& entry : entries_) memory.push_back(memory_of(entry, next));
  if (value_or(inputs.nonfinite, 0.0F) != 0.0F) {
    for_each_chunk([&](size_t, const Chunk& chunk) {
      clear_gradient(part_of(memory[chunk.entry].floats, chunk));
    });
    return;
  }
  *steps_.mutable_data_ptr<int64_t>() = next;
  update_by_rule(memory, value_or(inputs.gradient_scale, 1.0F), inputs.lr);
  // Writes to raw memory are invisible to autograd otherwise: a graph of the old values must not be
  // used again.
  for (const Entry& entry : entries_) entry.parameter.tensor.unsafeGetTensorImpl()->bump_version();
}

std::vector<at::Tensor> FusedOptimizer::precise(const core::ParameterSet& parameters) const {
  std::vector<at::Tensor> values;
  for (const core::Parameter& parameter : parameters) {
    const auto entry = std::ranges::find_if(entries_, [&](const Entry& one) {
      return one.master.defined() && one.parameter.name == parameter.name;
    });
    values.push_back(entry == entries_.end() ? parameter.tensor.detach() : entry->master);
  }
  return values;
}

void FusedOptimizer::save_state(core::StateWriter& out) const {
  out.scalar("optim/steps", *steps_.const_data_ptr<int64_t>());
  for (const Entry& entry : entries_) {
    const std::string& name = entry.parameter.name;
    if (entry.master.defined())
      core::save_values(out, "master/" + name, entry.parameter, entry.master);
    for (size_t s = 0; s < slot_names_.size(); ++s)
      core::save_values(out, "optim/" + slot_names_[s] + "/" + name, entry.parameter,
                        entry.slots[s]);
  }
}

void FusedOptimizer::load_state(const core::StateReader& in) {
  const at::NoGradGuard no_grad;
  *steps_.mutable_data_ptr<int64_t>() = in.integer("optim/steps");
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

std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config,
                                          const core::ParameterSet& parameters,
                                          AddOverShards add_over_shards) {
  return std::make_unique<FusedOptimizer>(config, parameters, std::move(add_over_shards));
}

}  // namespace trireme::optim
