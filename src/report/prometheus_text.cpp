#include <trireme/report/prometheus.h>

#include <array>
#include <cmath>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using Label = std::pair<std::string_view, std::string_view>;

/// Label values may hold anything but these three as they are.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    if (c == '\n')
      text += "\\n";
    else
      text += c;
  }
  return text;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

class Exposition {
 public:
  explicit Exposition(const PrometheusSample& sample)
      : hosts_(sample.hosts),
        common_(fmt::format("job=\"{}\",run=\"{}\"", escaped(sample.job), escaped(sample.run))) {}

  /// The samples of one metric follow each other.
  void metric(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void sample(double value, std::initializer_list<Label> labels = {}) {
    text_ += fmt::format("{}{{{}", name_, common_);
    for (const auto& [label, text] : labels)
      if (!text.empty()) text_ += fmt::format(",{}=\"{}\"", label, escaped(text));
    text_ += fmt::format("}} {}\n", number(value));
  }
  void spread(const telemetry::Spread& spread, Label which) {
    extreme(spread.min, "min", spread.min_rank, which);
    sample(spread.mean, {which, {"stat", "mean"}});
    sample(spread.p95, {which, {"stat", "p95"}});
    extreme(spread.max, "max", spread.max_rank, which);
  }
  void gauge(std::string_view name, std::string_view help, double value) {
    metric(name, "gauge", help);
    sample(value);
  }
  void counter(std::string_view name, std::string_view help, int64_t value) {
    metric(name, "counter", help);
    sample(static_cast<double>(value));
  }
  [[nodiscard]] std::string_view host(int rank) const {
    const auto index = static_cast<size_t>(rank);
    return rank >= 0 && index < hosts_.size() ? std::string_view(hosts_[index]) : "";
  }
  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  void extreme(double value, std::string_view stat, int rank, Label which) {
    const std::string number = rank >= 0 ? std::to_string(rank) : "";
    sample(value, {which, {"stat", stat}, {"rank", number}, {"host", host(rank)}});
  }

  const std::vector<std::string>& hosts_;
  std::string common_;
  std::string name_;
  std::string text_;
};

constexpr std::array<std::pair<Item, std::string_view>, 11> memory_kinds{{
    {Item::allocated, "allocated"},
    {Item::reserved, "reserved"},
    {Item::peak, "peak"},
    {Item::rss, "rss"},
    {Item::parameters, "parameters"},
    {Item::gradients, "gradients"},
    {Item::optimizer_state, "optimizer"},
    {Item::buffers, "buffers"},
    {Item::activations, "activations"},
    {Item::batches, "batches"},
    {Item::other_memory, "other"},
}};

void add_spreads(Exposition& to, const Window& window) {
  const auto item = [&](Item which) -> const telemetry::Spread& {
    return window.items[index_of(which)];
  };
  to.metric("trireme_step_seconds", "gauge", "Mean duration of a step, over the ranks.");
  to.spread(item(Item::step_seconds), {});
  to.metric("trireme_phase_seconds", "gauge", "Time of a mean step in a phase, over the ranks.");
  for (size_t i = 0; i < telemetry::phase_count; ++i)
    to.spread(window.items[i], {"phase", telemetry::phase_names[i]});
  to.metric("trireme_memory_bytes", "gauge", "Most memory since the last record, over the ranks.");
  for (const auto& [which, kind] : memory_kinds)
    if (item(which).max_rank >= 0) to.spread(item(which), {"kind", kind});
  to.metric("trireme_communication_bytes", "gauge",
            "Bytes that a rank passes to communication in a mean step.");
  to.spread(item(Item::comm_bytes), {});
  to.metric("trireme_communication_seconds", "gauge",
            "Time of a mean step in which communication is under way.");
  to.spread(item(Item::comm_busy_seconds), {});
}

struct Sensor {
  Item item;
  std::string_view name, help;
};
constexpr std::array<Sensor, 4> sensors{{
    {Item::utilisation, "trireme_device_busy_ratio",
     "Share of the time in which the device computed."},
    {Item::power_watts, "trireme_device_power_watts", "Power that the device draws."},
    {Item::celsius, "trireme_device_temperature_celsius", "Temperature of the device."},
    {Item::throttled, "trireme_device_throttled_ratio",
     "Share of the time in which the clocks of the device were held down."},
}};

void add_sensors(Exposition& to, const Window& window) {
  for (const Sensor& sensor : sensors) {
    const telemetry::Spread& spread = window.items[index_of(sensor.item)];
    if (spread.max_rank < 0) continue;
    to.metric(sensor.name, "gauge", sensor.help);
    to.spread(spread, {});
  }
}

void add_slowest(Exposition& to, const Window& window) {
  const Slowest slowest = slowest_of(window.rows);
  if (slowest.rank < 0) return;
  const std::string rank = std::to_string(slowest.rank);
  to.metric("trireme_slowest_rank", "gauge", "The rank that works longest in a step.");
  to.sample(slowest.rank, {{"host", to.host(slowest.rank)}});
  to.metric("trireme_slowest_rank_excess_ratio", "gauge",
            "By which part it works longer than the median of the others.");
  to.sample(slowest.excess, {{"rank", rank}, {"host", to.host(slowest.rank)}});
}

void add_evaluation(Exposition& to, const EvalMetrics& evaluation) {
  to.gauge("trireme_evaluation_step", "The step of the last evaluation.",
           static_cast<double>(evaluation.step));
  to.metric("trireme_evaluation", "gauge", "Results of the last evaluation.");
  to.sample(evaluation.loss, {{"metric", "loss"}});
  for (const auto& [name, value] : evaluation.metrics)
    if (name != "loss") to.sample(value, {{"metric", name}});
}

}  // namespace

std::string prometheus_text(const PrometheusSample& sample) {
  const StepMetrics& metrics = sample.metrics;
  Exposition to(sample);
  to.gauge("trireme_step", "Steps completed.", static_cast<double>(metrics.step));
  if (sample.total_steps > 0)
    to.gauge("trireme_steps_planned", "Steps of the whole run.",
             static_cast<double>(sample.total_steps));
  to.gauge("trireme_ranks", "Processes of the run.",
           static_cast<double>(sample.window.rows.size()));
  to.gauge("trireme_epoch", "Passes over the data completed.", static_cast<double>(metrics.epoch));
  to.gauge("trireme_loss", "Weighted mean loss of the last step over all ranks.", metrics.loss);
  to.gauge("trireme_learning_rate", "Learning rate of the last step.", metrics.lr);
  to.gauge("trireme_gradient_norm", "Norm of all gradients before clipping.", metrics.grad_norm);
  to.counter("trireme_samples_total", "Samples since the start of the run.", metrics.samples);
  to.counter("trireme_tokens_total", "Tokens since the start of the run.", metrics.tokens);
  to.counter("trireme_skipped_steps_total", "Steps left out since the start of the run.",
             metrics.skipped);
  to.gauge("trireme_samples_per_second", "Samples a second of all ranks.",
           metrics.samples_per_second);
  to.gauge("trireme_tokens_per_second", "Tokens a second of all ranks.", metrics.tokens_per_second);
  add_spreads(to, sample.window);
  add_sensors(to, sample.window);
  add_slowest(to, sample.window);
  if (sample.evaluation) add_evaluation(to, *sample.evaluation);
  to.gauge("trireme_last_update_timestamp_seconds", "When these numbers were taken.", sample.time);
  return std::move(to).text();
}

}  // namespace trireme::report
