#include "trainer/state_forecast.h"

#include <algorithm>

#include <fmt/format.h>

#include <trireme/device/select.h>
#include <trireme/optim/groups.h>
#include <trireme/optim/optimizer.h>
#include <trireme/precision/precision.h>

#include "model/weights.h"
#include "trainer/build.h"

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

constexpr size_t tensors_named = 5;

double mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

std::string describe(const parallel::StateBytes& state) {
  std::string text = fmt::format("{:.1f} MiB: parameters {:.1f}, gradients {:.1f}, optimizer {:.1f}", mib(state.total()),
                                 mib(state.parameters), mib(state.gradients), mib(state.optimizer));
  if (state.passing > 0) text += fmt::format(", gathered or reduced at a time {:.1f}", mib(state.passing));
  return text;
}

}  // namespace

StateForecast::StateForecast(const RunConfig& config, comm::World& world) : config_(config) {
  const precision::Precision precision = precision::resolve(config.precision, device::device_type(config.device));
  bytes_.parameter = static_cast<int64_t>(c10::elementSize(precision.parameters));
  bytes_.travelling = static_cast<int64_t>(c10::elementSize(precision.reduce));
  bytes_.optimizer = optim::state_bytes_per_element(config.optim, precision.parameters);
  shard_ranks_ = shard_groups_of(config, world).shard_ranks;

  const std::unique_ptr<model::Model> shapes = model::shapes_of(config.model);
  core::ParameterSet all = shapes->parameters();
  const std::set<std::string> frozen = optim::frozen_names(config.optim, all);
  for (const autograd::Unit* unit : shapes->units()) {
    parallel::UnitElements& elements = units_.emplace_back();
    for (const core::Parameter& p : unit->parameters())
      (frozen.contains(p.name) ? elements.frozen : elements.trained) += p.tensor.numel();
  }
  std::ranges::stable_sort(all, std::greater(), [](const core::Parameter& p) { return p.tensor.numel(); });
  for (size_t i = 0; i < std::min(all.size(), tensors_named); ++i)
    largest_.push_back(fmt::format("{} [{}] {:.1f} MiB", all[i].name, fmt::join(all[i].tensor.sizes().vec(), ", "),
                                   mib(all[i].tensor.numel() * bytes_.parameter)));
}

parallel::StateBytes StateForecast::with(const std::string& strategy) const {
  parallel::ParallelConfig other = config_.parallel;
  other.strategy = strategy;
  return parallel::plan_state(units_, bytes_, other, shard_ranks_);
}

parallel::StateBytes StateForecast::of_unit(size_t unit) const {
  parallel::StateBytes bytes = parallel::plan_state({&units_.at(unit), 1}, bytes_, config_.parallel, shard_ranks_);
  bytes.passing = 0;
  return bytes;
}

std::string StateForecast::text() const { return describe(with(config_.parallel.strategy)); }

Error StateForecast::explain(const Error& out_of_memory) const {
  const std::string& own = config_.parallel.strategy;
  const auto limit = config_.device.memory_limit_mib;
  std::string fitting, others;
  for (const char* const strategy : {"ddp", "zero1", "zero2", "fsdp"}) {
    const int64_t needed = with(strategy).total();
    if (strategy == own || needed >= with(own).total()) continue;
    others += fmt::format("{}parallel.strategy: {} needs {:.1f} MiB", others.empty() ? "" : ", ", strategy, mib(needed));
    if (limit && mib(needed) < static_cast<double>(*limit)) fitting += fmt::format("{}{}", fitting.empty() ? "" : " or ", strategy);
  }
  std::string message = out_of_memory.message() + fmt::format("\n  the state of a rank with parallel.strategy: {} takes {}; activations and batches come on top"
                                                              "\n  the largest parameters are {}", own, text(), fmt::join(largest_, ", "));
  if (!others.empty()) message += fmt::format("\n  of state, over {} rank{}, {}", shard_ranks_, shard_ranks_ == 1 ? "" : "s", others);
  const std::string smaller = "a smaller train.batch_size with train.global_batch kept needs less for activations";
  const std::string hint = fitting.empty() ? smaller : fmt::format("parallel.strategy: {} would leave room under the limit; {}", fitting, smaller);
  return {ErrorKind::out_of_memory, message, hint};
}

}  // namespace trireme::trainer
