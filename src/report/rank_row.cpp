#include <trireme/report/rank_row.h>
#include <trireme/report/row_sum.h>
#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace trireme::report {
namespace {

using telemetry::Phase;

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

/// What a step did itself: neither its waiting for others nor checkpoints, which one rank may write
/// for all.
double own_seconds(const telemetry::StepRecord& step) {
  return step.seconds - step.phases[index_of(Phase::comm_exposed)] -
         step.phases[index_of(Phase::checkpoint)];
}

void set_kinds(RankRow& row, const MemoryKinds& kinds) {
  double left = row[index_of(Item::peak)];
  const auto take = [&](Item item, double bytes) {
    const double part = std::clamp(bytes, 0.0, left);
    row[index_of(item)] = part;
    left -= part;
  };
  take(Item::parameters, kinds.parameters);
  take(Item::gradients, kinds.gradients);
  take(Item::optimizer_state, kinds.optimizer);
  take(Item::buffers, kinds.buffers);
  take(Item::batches, kinds.batches);
  take(Item::activations, kinds.activations);
  row[index_of(Item::other_memory)] = left;
}

}  // namespace

double typical_of(std::span<const double> values) {
  // The pairs of a hundred values are enough.
  constexpr size_t most = 100;
  const size_t stride = (values.size() + most - 1) / most;
  std::vector<double> pairs;
  for (size_t i = 0; i < values.size(); i += stride)
    for (size_t j = 0; j <= i; j += stride) pairs.push_back((values[i] + values[j]) / 2);
  return telemetry::median_of(pairs);
}

RankRow row_of(std::span<const telemetry::StepRecord> steps, const RankExtras& extras) {
  RankRow row{};
  const auto at = [&row](Item item) -> double& {
    return row[index_of(item)];
  };
  const auto raise = [&at](Item item, int64_t bytes) {
    at(item) = std::max(at(item), static_cast<double>(bytes));
  };
  std::vector<double> working;
  for (const telemetry::StepRecord& step : steps) {
    for (size_t i = 0; i < telemetry::phase_count; ++i) row[i] += step.phases[i];
    at(Item::step_seconds) += step.seconds;
    at(Item::comm_busy_seconds) += step.comm_busy_seconds;
    at(Item::comm_bytes) += static_cast<double>(step.comm_bytes);
    at(Item::comm_calls) += static_cast<double>(step.comm_calls);
    raise(Item::allocated, step.memory.allocated);
    raise(Item::reserved, step.memory.reserved);
    raise(Item::peak, step.step_peak > 0 ? step.step_peak : step.memory.peak);
    raise(Item::rss, step.memory.rss);
    raise(Item::peak_ever, std::max(step.memory.peak, step.step_peak));
    at(Item::comm_hidden_seconds) +=
        std::max(0.0, step.comm_busy_seconds - step.phases[index_of(Phase::comm_exposed)]);
    working.push_back(own_seconds(step));
  }
  const auto count = static_cast<double>(steps.size());
  if (!steps.empty())
    for (size_t i = 0; i < item_count; ++i)
      if (kind_of(i) == ItemKind::mean) row[i] /= count;
  at(Item::typical_working_seconds) = typical_of(working);
  at(Item::host_syncs) = extras.host_syncs;
  at(Item::host_sync_seconds) = extras.host_sync_seconds;
  at(Item::flops) = extras.flops.value_or(unknown);
  at(Item::load_seconds) = extras.load_seconds.value_or(unknown);
  if (extras.memory)
    set_kinds(row, *extras.memory);
  else
    std::fill_n(row.begin() + index_of(Item::parameters),
                index_of(Item::other_memory) - index_of(Item::parameters) + 1, unknown);
  const bool sensed = extras.sensors.has_value();
  const SensorMeans sensors = extras.sensors.value_or(SensorMeans{});
  at(Item::utilisation) = sensed ? sensors.utilisation : unknown;
  at(Item::power_watts) = sensed ? sensors.power_watts : unknown;
  at(Item::celsius) = sensed ? sensors.celsius : unknown;
  at(Item::throttled) = sensed ? sensors.throttled : unknown;
  at(Item::steps) = count;
  return row;
}

bool loads_like_the_others(std::span<const double> load_seconds, size_t rank) {
  constexpr double slower = 1.1;
  std::vector<double> others;
  for (size_t r = 0; r < load_seconds.size(); ++r)
    if (r != rank && std::isfinite(load_seconds[r])) others.push_back(load_seconds[r]);
  const double usual = telemetry::median_of(others);
  return usual > 0 && load_seconds[rank] <= slower * usual;
}

double working_seconds(const RankRow& row) {
  return row[index_of(Item::step_seconds)] - row[index_of(Phase::comm_exposed)];
}

double typical_working_of(const RankRow& row) {
  const double typical = row[index_of(Item::typical_working_seconds)];
  return typical > 0 ? typical : working_seconds(row) - row[index_of(Phase::checkpoint)];
}

Slowest slowest_among(std::span<const double> working) {
  if (working.size() < 2) return {};
  const auto slowest = std::max_element(working.begin(), working.end());
  std::vector<double> others;
  for (auto one = working.begin(); one != working.end(); ++one)
    if (one != slowest) others.push_back(*one);
  const double usual = telemetry::median_of(others);
  if (usual <= 0) return {};
  return {static_cast<int>(slowest - working.begin()), *slowest / usual - 1};
}

Slowest slowest_of(std::span<const RankRow> rows) {
  std::vector<double> working(rows.size());
  std::transform(rows.begin(), rows.end(), working.begin(), working_seconds);
  return slowest_among(working);
}

}  // namespace trireme::report
