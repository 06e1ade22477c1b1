#include <trireme/report/tensorboard.h>

#include "json.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

/// Without "_bytes", which the group says.
std::string memory_tag(Item item) {
  std::string_view name = name_of(item);
  if (name.ends_with("_bytes")) name.remove_suffix(6);
  return fmt::format("memory/{}_max", name);
}

constexpr std::array memory_items{
    Item::allocated,    Item::reserved,        Item::peak,    Item::rss,         Item::parameters,
    Item::gradients,    Item::optimizer_state, Item::buffers, Item::activations, Item::batches,
    Item::other_memory, Item::peak_ever};
constexpr std::array sensor_items{Item::utilisation, Item::power_watts, Item::celsius,
                                  Item::throttled};

/// What tells ranks apart, a value a rank. A tag must not be that of a scalar: TensorBoard shows a
/// tag on one dashboard.
constexpr std::array<std::pair<std::string_view, size_t>, 3> over_ranks{
    {{"throughput/step_seconds_over_ranks", index_of(Item::step_seconds)},
     {"phases/data_over_ranks", index_of(telemetry::Phase::data)},
     {"phases/comm_exposed_over_ranks", index_of(telemetry::Phase::comm_exposed)}}};

void add_histogram(TensorBoard& board, std::string_view tag, const Window& window, size_t item,
                   int64_t step) {
  Histogram histogram;
  for (const RankRow& row : window.rows) histogram.add(row[item]);
  board.histogram(tag, histogram, step);
}

template <class Value>
void add_histogram(TensorBoard& board, std::string_view tag, std::span<const Value> values,
                   int64_t step) {
  Histogram histogram;
  for (const Value value : values) histogram.add(static_cast<double>(value));
  board.histogram(tag, histogram, step);
}

}  // namespace

void log(TensorBoard& board, const StepMetrics& metrics, const Window& window,
         std::span<const TaggedValue> more) {
  std::vector<TaggedValue> values{{"train/loss", metrics.loss},
                                  {"train/grad_norm", metrics.grad_norm},
                                  {"train/lr", metrics.lr},
                                  {"train/epoch", static_cast<double>(metrics.epoch)},
                                  {"train/skipped_steps", static_cast<double>(metrics.skipped)},
                                  {"throughput/step_seconds", metrics.step_seconds},
                                  {"throughput/samples_per_second", metrics.samples_per_second}};
  if (metrics.tokens > 0)
    values.emplace_back("throughput/tokens_per_second", metrics.tokens_per_second);
  for (size_t i = 0; i < telemetry::phase_count; ++i) {
    const telemetry::Spread& phase = window.items[i];
    values.emplace_back(fmt::format("phases/{}", telemetry::phase_names[i]), phase.mean);
    values.emplace_back(fmt::format("phases/{}_max", telemetry::phase_names[i]), phase.max);
  }
  const auto spread_of = [&](Item item) -> const telemetry::Spread& {
    return window.items[index_of(item)];
  };
  const auto add = [&](std::string tag, Item item, double telemetry::Spread::*which) {
    const telemetry::Spread& spread = spread_of(item);
    if (spread.max_rank >= 0) values.emplace_back(std::move(tag), spread.*which);
  };
  add("communication/busy_seconds", Item::comm_busy_seconds, &telemetry::Spread::mean);
  add("communication/hidden_seconds", Item::comm_hidden_seconds, &telemetry::Spread::mean);
  add("communication/bytes", Item::comm_bytes, &telemetry::Spread::mean);
  add("throughput/host_syncs", Item::host_syncs, &telemetry::Spread::mean);
  for (const Item item : memory_items) add(memory_tag(item), item, &telemetry::Spread::max);
  for (const Item item : sensor_items) {
    add(fmt::format("sensors/{}", name_of(item)), item, &telemetry::Spread::mean);
    add(fmt::format("sensors/{}_max", name_of(item)), item, &telemetry::Spread::max);
  }
  if (const Json mfu = mfu_json(window, metrics.peak_flops_per_rank); mfu.is_number())
    values.emplace_back("throughput/mfu", mfu.get<double>());
  values.insert(values.end(), more.begin(), more.end());
  board.scalars(values, metrics.step);
  if (window.rows.size() > 1)
    for (const auto& [tag, item] : over_ranks)
      add_histogram(board, tag, window, item, metrics.step);
}

void log(TensorBoard& board, const EvalMetrics& metrics) {
  std::vector<TaggedValue> values{{"eval/loss", metrics.loss}};
  for (const auto& [name, value] : metrics.metrics) values.emplace_back("eval/" + name, value);
  board.scalars(values, metrics.step);
}

void log_text(TensorBoard& board, std::string_view tag, std::string_view markdown, int64_t step) {
  board.text(tag, markdown, step);
}

void log_histogram(TensorBoard& board, std::string_view tag, std::span<const float> values,
                   int64_t step) {
  add_histogram(board, tag, values, step);
}

void log_histogram(TensorBoard& board, std::string_view tag, std::span<const double> values,
                   int64_t step) {
  add_histogram(board, tag, values, step);
}

}  // namespace trireme::report
