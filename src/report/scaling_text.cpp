#include <trireme/report/plain_text.h>
#include <trireme/report/scaling.h>

#include "json.h"
#include "percent.h"

#include <cmath>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

std::string_view name_of(Scaling::Kind kind) {
  switch (kind) {
    case Scaling::Kind::strong:
      return "strong";
    case Scaling::Kind::weak:
      return "weak";
    default:
      return "neither";
  }
}

std::string title_of(const Scaling& scaling) {
  const ScalingRun& base = scaling.rows.front().run;
  switch (scaling.kind) {
    case Scaling::Kind::strong:
      return fmt::format("strong scaling: {:.0f} samples a step, whatever the ranks",
                         base.samples_per_step);
    case Scaling::Kind::weak:
      return fmt::format("weak scaling: {:.0f} samples a step on each rank",
                         base.samples_per_step / base.ranks);
    default:
      return "runs on different ranks with different batches";
  }
}

double share(const ScalingRun& run, Phase phase) {
  return run.shares[static_cast<size_t>(phase)];
}

}  // namespace

std::string scaling_text(const Scaling& scaling) {
  std::string text = title_of(scaling) + "\n\n";
  const auto out = std::back_inserter(text);
  const bool tokens = scaling.rows.front().run.tokens_per_second > 0;
  fmt::format_to(out, "{:>5}{:>7}{:>12}{:>13}", "ranks", "hosts", "step", "samples/s");
  if (tokens) fmt::format_to(out, "{:>13}", "tokens/s");
  fmt::format_to(out, "{:>10}{:>12}{:>15}{:>11}  {}\n", "speed-up", "efficiency", "exposed comm.",
                 "data wait", "run");
  for (const auto& [run, speed_up, efficiency] : scaling.rows) {
    fmt::format_to(out, "{:>5}{:>7}{:>9.2f} ms{:>13.1f}", run.ranks, run.hosts,
                   1e3 * run.step_seconds, run.samples_per_second);
    if (tokens) fmt::format_to(out, "{:>13.1f}", run.tokens_per_second);
    fmt::format_to(out, "{:>9.2f}x{:>10.1f} %{:>13.1f} %{:>9.1f} %  {}\n", speed_up,
                   percent(efficiency), percent(share(run, Phase::comm_exposed)),
                   percent(share(run, Phase::data)), plain_text(run.path));
  }
  fmt::format_to(out, "\n{}\n", scaling.text);
  for (const std::string& note : scaling.notes) fmt::format_to(out, "note: {}\n", plain_text(note));
  for (const auto& [key, values] : scaling.configuration) {
    fmt::format_to(out, "  {}:", plain_text(key));
    for (size_t i = 0; i < values.size(); ++i)
      fmt::format_to(out, "{} {}", i == 0 ? "" : ",", plain_text(values[i]));
    text += '\n';
  }
  return text;
}

std::string scaling_json(const Scaling& scaling) {
  Json rows = Json::array(), losses = Json::array(), keys = Json::object();
  for (const auto& [run, speed_up, efficiency] : scaling.rows) {
    Json shares = Json::object();
    for (size_t i = 0; i < telemetry::phase_count; ++i)
      shares[std::string(telemetry::phase_names[i])] = run.shares[i];
    rows.push_back(
        {{"run", run.path},
         {"ranks", run.ranks},
         {"hosts", run.hosts},
         {"windows", run.windows},
         {"samples_per_step", std::llround(run.samples_per_step)},
         {"step_seconds", run.step_seconds},
         {"samples_per_second", run.samples_per_second},
         {"tokens_per_second", run.tokens_per_second > 0 ? Json(run.tokens_per_second) : Json()},
         {"speed_up", speed_up},
         {"efficiency", efficiency},
         {"shares", std::move(shares)}});
  }
  for (const ScalingLoss& loss : scaling.losses)
    losses.push_back({{"phase", telemetry::name_of(loss.phase)},
                      {"seconds", loss.seconds},
                      {"expected_seconds", loss.expected_seconds},
                      {"from_share", loss.from_share},
                      {"to_share", loss.to_share}});
  for (const auto& [key, values] : scaling.configuration) keys[key] = values;
  const Json json = {{"schema", 1},
                     {"kind", name_of(scaling.kind)},
                     {"text", scaling.text},
                     {"notes", scaling.notes},
                     {"runs", std::move(rows)},
                     {"losses", std::move(losses)},
                     {"configuration", std::move(keys)}};
  return dump(json, 2) + "\n";
}

}  // namespace trireme::report
