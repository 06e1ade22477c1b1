#include "trainer/build.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <variant>

#include <fmt/format.h>

#include <trireme/comm/device_communicator.h>
#include <trireme/comm/traced.h>
#include <trireme/core/log.h>
#include <trireme/data/open.h>
#include <trireme/device/backend.h>
#include <trireme/device/optimization.h>
#include <trireme/optim/groups.h>
#include <trireme/parallel/bucket_plan.h>
#include <trireme/parallel/gradient_reducer.h>
#include <trireme/parallel/replicas.h>

#include "model/registry.h"
#include "model/weights.h"
#include "parallel/sharded_parameters.h"
#include "trainer/weights.h"

namespace trireme::trainer {

std::optional<int64_t> sequence_length(const RunConfig& config) {
  if (config.data.sequence_length) return config.data.sequence_length;
  if (const auto* gpt2 = std::get_if<model::Gpt2Settings>(&config.model.settings)) return gpt2->n_positions;
  return std::nullopt;
}

DataParts open_data(const RunConfig& config) {
  DataParts parts;
  parts.train = data::open_dataset(config.data.train, sequence_length(config));
  if (!config.data.eval.empty()) parts.eval = data::open_dataset(config.data.eval, sequence_length(config));
  return parts;
}

parallel::ShardGroups shard_groups_of(const RunConfig& config, comm::World& world) {
  std::vector<int> local_sizes;
  for (const comm::RankInfo& rank : world.ranks()) local_sizes.push_back(rank.local_size);
  return parallel::shard_groups(config.parallel, world.rank(), local_sizes);
}

precision::Precision resolve_precision(const RunConfig& config, at::Device device) {
  const device::Backend* const backend = device::backend_of(device.type());
  const bool has_bf16 = backend != nullptr && backend->devices().at(static_cast<size_t>(device.index())).has_bf16;
  return precision::resolve(config.precision, device.type(), has_bf16);
}

core::RandomKey initial_random(const RunConfig& config) {
  return core::RandomKey(static_cast<uint64_t>(config.run.seed)).fold("model");
}

namespace {

std::unique_ptr<parallel::ShardedParameters> make_sharded(const RunConfig& config, comm::World& world,
                                                          const comm::CommunicatorPtr& all, at::ScalarType reduce,
                                                          telemetry::Recorder& recorder) {
  const parallel::ShardGroups groups = shard_groups_of(config, world);
  return std::make_unique<parallel::ShardedParameters>(
      parallel::ShardedParameters::Ranks{all, all->split(groups.group, groups.shard, "shards"),
                                         all->split(groups.shard, groups.group, "replicas")},
      parallel::sharding_of(config.parallel, reduce), recorder);
}

void check_strategy(const RunConfig& config, model::Model& model) {
  if (config.parallel.strategy != "fsdp") return;
  if (config.precision.mode == "autocast")
    throw Error(ErrorKind::configuration,
                "precision.mode: autocast keeps casts of whole parameters alive until backward, so parallel.strategy: fsdp would free "
                "nothing",
                "set precision.mode: parameters, or parallel.strategy: zero2");
  if (model.units().size() == 1)
    log::warning("the model is a single unit: fsdp gathers all of it at once, and only its gradients and the optimizer's state need less "
                 "memory");
}

void check_replicas(const RunConfig& config) {
  if (!config.guard.replicas_every_steps || config.parallel.strategy != "fsdp") return;
  throw Error(ErrorKind::configuration, "guard.replicas_every_steps: with parallel.strategy: fsdp no rank holds what another holds",
              "set guard.replicas_every_steps: null, or parallel.strategy to ddp, zero1 or zero2");
}

void check_fp8(const precision::Precision& precision, const model::Model& model, at::Device device) {
  if (!precision.fp8) return;
  if (!model.supports_fp8())
    throw Error(ErrorKind::configuration, "precision.fp8: this model does not compute in 8 bits", "use model.name: gpt2, or precision.fp8: false");
  const device::Backend* const backend = device::backend_of(device.type());
  if (backend == nullptr) return;
  const device::Accelerator& one = backend->devices().at(static_cast<size_t>(device.index()));
  if (!one.has_fp8)
    throw Error(ErrorKind::environment, fmt::format("precision.fp8: {} (capability {}) has no 8-bit matrix units", one.name, one.capability),
                "use a GPU of capability 8.9 or more, or precision.fp8: false");
}

std::optional<parallel::Link> link_of(comm::World& world, at::Device device) {
  if (device.is_cpu()) return {};
  const auto& ranks = world.ranks();
  return parallel::usual_gpu_link(std::ranges::all_of(ranks, [&](const comm::RankInfo& rank) { return rank.host == ranks[0].host; }));
}

/// Rows that do not begin at whole packs of 16 bytes cost the matrix units of a GPU most of their speed.
void warn_of_odd_vocabulary(const RunConfig& config, at::Device device) {
  const auto* gpt2 = std::get_if<model::Gpt2Settings>(&config.model.settings);
  constexpr int64_t whole = 64;
  if (device.is_cpu() || gpt2 == nullptr || gpt2->vocab_size % whole == 0) return;
  log::warning("model.config.vocab_size {} is no multiple of {}: on GPUs the head is much faster with {}", gpt2->vocab_size, whole,
               (gpt2->vocab_size + whole - 1) / whole * whole);
}

using Recompute = autograd::Unit::Activations::Recompute;

Recompute recompute_of(const parallel::ParallelConfig& config, size_t unit) {
  if (const auto* every = std::get_if<int64_t>(&config.recompute))
    return unit % static_cast<size_t>(*every) == 0 ? Recompute::all : Recompute::none;
  const std::string& what = std::get<std::string>(config.recompute);
  return what == "unit" ? Recompute::all : what == "selective" ? Recompute::cheap_parts : Recompute::none;
}

/// How the units keep what backward needs.
void set_activations(const parallel::ParallelConfig& config, Parts& parts) {
  const std::map<std::string, autograd::ActivationForm> forms = {{"bf16", autograd::ActivationForm::bf16},
                                                                 {"int8", autograd::ActivationForm::int8},
                                                                 {"host", autograd::ActivationForm::host}};
  if (config.activations == "host" && parts.device.is_cpu())
    throw Error(ErrorKind::configuration, "parallel.activations: host moves activations to the host's memory, where they are on a CPU",
                "set parallel.activations to plain, bf16 or int8");
  if (recompute_of(config, 0) == Recompute::cheap_parts && !parts.model->marks_cheap_parts())
    throw Error(ErrorKind::configuration,
                "parallel.recompute: selective needs a model that marks what is cheap to compute again, and this one does not",
                "set parallel.recompute: unit, or a number");
  if (const auto form = forms.find(config.activations); form != forms.end()) {
    core::ParameterSet untrained = parts.buffers;
    for (const core::Parameter& p : parts.model->parameters())
      if (!p.tensor.requires_grad()) untrained.push_back(p);
    parts.activations = std::make_unique<autograd::ActivationStorage>(form->second, untrained);
  }
  const std::vector<autograd::Unit*> units = parts.model->units();
  for (size_t i = 0; i < units.size(); ++i)
    units[i]->set_activations({.recompute = recompute_of(config, i), .storage = parts.activations.get()});
}

}  // namespace

Parts build_parts(const RunConfig& config, comm::World& world, const data::Dataset& data, at::Device device, Weights weights,
                  telemetry::Recorder& recorder) {
  Parts parts;
  parts.device = device;
  parts.ranks = comm::traced(comm::make_device_communicator(world.all(), device), recorder, "ranks");
  const comm::CommunicatorPtr all = parts.ranks;
  parts.precision = resolve_precision(config, device);
  parts.model = model::create_model(config.model);
  parts.model->check_data(data.properties());
  check_strategy(config, *parts.model);
  check_replicas(config);
  check_fp8(parts.precision, *parts.model, device);
  if (world.rank() == 0) warn_of_odd_vocabulary(config, device);
  std::optional<InitialWeights> initial;
  if (config.model.weights && weights == Weights::as_configured) initial.emplace(config.model, *config.model.weights);
  std::unique_ptr<parallel::ShardedParameters> sharded;
  if (config.parallel.strategy != "ddp") sharded = make_sharded(config, world, all, parts.precision.reduce, recorder);

  // Known before the first unit is built: units are cut at once.
  const std::set<std::string> frozen = optim::frozen_names(config.optim, model::shapes_of(config.model)->parameters());
  core::ParameterSet trainable;
  // Convolutions follow the format of their weights. What is cut over ranks has none.
  const bool with_channels_last = !sharded && device::channels_last(config.device);
  const auto fill = [&](autograd::Unit& unit) {
    const core::ParameterSet built = unit.parameters();
    if (initial) {
      initial->copy_into(built);
      initial->copy_into(unit.buffers());
    }
    for (const core::Parameter& p : built) {
      if (with_channels_last && p.tensor.dim() == 4) p.tensor.set_data(p.tensor.contiguous(at::MemoryFormat::ChannelsLast));
      p.tensor.requires_grad_(!frozen.contains(p.name));
      if (p.tensor.requires_grad()) trainable.push_back(p);
    }
    if (!sharded) return;
    parallel::broadcast_parameters(*all, built, unit.buffers());
    sharded->add(unit);
  };
  {
    const telemetry::SectionScope scope(recorder.section("build_model", telemetry::Category::model_loading),
                                        telemetry::SectionScope::Memory::tracked);
    parts.model->build({.device = device, .dtype = parts.precision.parameters, .random = initial_random(config), .fp8 = parts.precision.fp8,
                        .recorder = &recorder},
                       fill);
  }
  parts.buffers = parts.model->buffers();
  set_activations(config.parallel, parts);
  if (parts.model->tokens_per_sample() > 0) parts.tokens_per_sample = sequence_length(config).value_or(0);

  optim::AddOverShards add_over_shards;
  if (sharded) {
    parts.parameters = sharded->fragments();
    if (sharded->shard_ranks()->size() > 1)
      add_over_shards = [shards = sharded->shard_ranks()](const at::Tensor& sums) { shards->all_reduce(sums)->wait(); };
    parts.data_parallel = std::move(sharded);
  } else {
    parts.parameters = parts.model->parameters();
    parallel::broadcast_parameters(*all, parts.parameters, parts.buffers);
    parts.data_parallel = std::make_unique<parallel::GradientReducer>(
        all, trainable,
        parallel::bucket_sizes(config.parallel, core::elements(trainable) * static_cast<int64_t>(sizeof(float)), link_of(world, device)),
        parts.precision.reduce);
  }
  parts.optimizer = optim::make_optimizer(config.optim, parts.parameters, std::move(add_over_shards));
  parts.scaler = std::make_unique<precision::LossScaler>(parts.precision, device);
  if (config.ema.decay) parts.average = std::make_unique<optim::WeightAverage>(config.ema, parts.parameters, *parts.optimizer);
  return parts;
}

}  // namespace trireme::trainer
