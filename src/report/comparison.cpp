#include <trireme/core/error.h>
#include <trireme/report/comparison.h>
#include <trireme/report/plain_text.h>
#include <trireme/telemetry/phase.h>
#include <trireme/telemetry/statistics.h>

#include "json.h"
#include "run_configuration.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>

namespace trireme::report {
namespace {

/// What the first of the windows show is the start of the run.
constexpr double start_share = 0.1;
/// Differences of means of windows beyond so many standard errors are no noise.
constexpr double errors = 3;
/// What takes a smaller part of the step than this is not judged: a tenth of nothing is nothing.
constexpr double least_share = 0.02;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Fewer windows do not tell how they scatter.
constexpr size_t fewest_windows = 3;
/// What the most of memory differs by luck: the allocator's blocks, pages that were touched or not.
constexpr double memory_luck = 0.01, resident_luck = 0.05;
constexpr double least_memory_luck = 4 << 20, least_resident_luck = 16 << 20;

/// A figure of a run with the standard error of its mean over the windows.
struct Measured {
  double value = 0;
  double error = 0;
  bool judged = true;  ///< there are windows enough to know the error
};

struct Run {
  std::map<std::string, std::string> configuration;  // path: value as JSON
  std::map<int64_t, double> losses;                  // NaN: not finite
  std::map<std::string, Measured> figures;
};

/// Neighbouring windows are slow together: so many count as one.
constexpr double windows_alike = 4;

/// The median, which single slow windows do not move, and its standard error for normal noise.
Measured measured(std::vector<double> values) {
  const auto start = static_cast<size_t>(start_share * static_cast<double>(values.size()));
  const bool judged = values.size() >= fewest_windows;
  values.erase(values.begin(), values.begin() + static_cast<long>(start));
  const double middle = telemetry::median_of(values);
  std::vector<double> off;
  for (const double value : values) off.push_back(std::abs(value - middle));
  const double deviation = 1.4826 * telemetry::median_of(off);
  const double count = std::max(1.0, static_cast<double>(values.size()) / windows_alike);
  return {middle, 1.2533 * deviation / std::sqrt(count), judged};
}

/// The most of memory over the windows; it scatters as neighbouring windows do, whatever it grows
/// by.
Measured most_of(const std::vector<double>& values, bool resident) {
  const double most = *std::max_element(values.begin(), values.end());
  std::vector<double> changes;
  for (size_t i = 1; i < values.size(); ++i) changes.push_back(std::abs(values[i] - values[i - 1]));
  const double deviation = 1.4826 * telemetry::median_of(changes) / std::sqrt(2.0);
  const double luck = resident ? std::max(resident_luck * most, least_resident_luck)
                               : std::max(memory_luck * most, least_memory_luck);
  return {most, std::max(deviation, luck / errors), values.size() >= fewest_windows};
}

Run read_run(const RunPaths& paths) {
  Run run;
  std::ifstream file(paths.metrics());
  if (!file)
    throw Error(ErrorKind::input_missing,
                fmt::format("{} cannot be read", paths.metrics().string()),
                "give the run.dir of a run that has logged steps");
  std::map<std::string, std::vector<double>> series;
  for (std::string line; std::getline(file, line);) {
    const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const std::optional<double> step = number_in(record, {"step"});
    if (!step) continue;  // the torn end of a run under way
    const auto note = [&](const std::string& name, std::optional<double> value) {
      if (value) series[name].push_back(*value);
    };
    run.losses[static_cast<int64_t>(*step)] =
        number_in(record, {"loss"}).value_or(std::numeric_limits<double>::quiet_NaN());
    note("step_seconds", number_in(record, {"step_seconds"}));
    note("samples_per_second", number_in(record, {"samples_per_second"}));
    note("tokens_per_second", number_in(record, {"tokens_per_second"}));
    for (const std::string_view phase : telemetry::phase_names)
      note(fmt::format("phases.{}", phase), number_in(record, {"phases", phase, "mean"}));
    for (const char* item : {"peak", "allocated", "rss"})
      note(fmt::format("memory.{}", item), number_in(record, {"memory", item, "max"}));
  }
  if (run.losses.empty())
    throw Error(ErrorKind::data_damaged,
                fmt::format("{} holds no logged step", paths.metrics().string()),
                "give the run.dir of a run that has logged steps");
  for (auto& [name, values] : series) {
    if (name.starts_with("memory."))
      run.figures[name] = most_of(values, name == "memory.rss");
    else
      run.figures[name] = measured(std::move(values));
  }
  const Json goodput = Json::parse(text_of(paths.goodput()), nullptr, /*allow_exceptions=*/false);
  if (const auto value = number_in(goodput, {"goodput"})) run.figures["goodput"] = {*value, 0};
  run.configuration = configuration_of(paths);
  return run;
}

void compare_configurations(const Run& run, const Run& baseline, Comparison& comparison) {
  std::set<std::string> keys;
  for (const Run* one : {&run, &baseline})
    for (const auto& [key, value] : one->configuration) keys.insert(key);
  const auto value_of = [](const Run& one, const std::string& key) {
    const auto found = one.configuration.find(key);
    return found == one.configuration.end() ? "absent" : found->second;
  };
  for (const std::string& key : keys)
    if (const std::string a = value_of(run, key), b = value_of(baseline, key); a != b)
      comparison.configuration.push_back({key, a, b});
}

void compare_losses(const Run& run, const Run& baseline, Comparison& comparison) {
  for (const auto& [step, loss] : run.losses) {
    const auto found = baseline.losses.find(step);
    if (found == baseline.losses.end()) continue;
    ++comparison.common_steps;
    const double other = found->second;
    if (std::isnan(loss) && std::isnan(other)) continue;
    if (std::bit_cast<uint64_t>(loss) != std::bit_cast<uint64_t>(other) &&
        !comparison.first_different_step)
      comparison.first_different_step = step;
    const double size = std::max(std::abs(loss), std::abs(other));
    const double difference = loss == other ? 0 : std::abs(loss - other) / size;
    if (!(difference > comparison.largest_loss_difference)) continue;  // nor where one is NaN
    comparison.largest_loss_difference = difference;
    comparison.largest_at_step = step;
  }
}

/// The loss that both had at the end of what they share: the mean over its last tenth.
void compare_last_loss(const Run& run, const Run& baseline, Comparison& comparison) {
  std::vector<double> mine, others;
  for (const auto& [step, loss] : run.losses)
    if (const auto found = baseline.losses.find(step); found != baseline.losses.end()) {
      mine.push_back(loss);
      others.push_back(found->second);
    }
  if (mine.empty()) return;
  const bool judged = mine.size() >= fewest_windows;
  const size_t width = std::min(mine.size(), std::max(fewest_windows, mine.size() / 10));
  const auto last = [width](std::vector<double>& losses) {
    losses.erase(losses.begin(), losses.end() - static_cast<long>(width));
    std::erase_if(losses, [](double loss) { return !std::isfinite(loss); });
    if (2 * losses.size() <= width) return Measured{std::numeric_limits<double>::quiet_NaN(), 0};
    const auto count = static_cast<double>(losses.size());
    double sum = 0, squares = 0;
    for (const double loss : losses) sum += loss;
    const double mean = sum / count;
    for (const double loss : losses) squares += (loss - mean) * (loss - mean);
    return Measured{mean, std::sqrt(squares) / count};
  };
  const Measured a = last(mine), b = last(others);
  ComparedFigure figure{.what = "loss", .unit = "", .run = a.value, .baseline = b.value};
  figure.noise = b.value != 0 ? errors * std::hypot(a.error, b.error) / std::abs(b.value) : 0;
  figure.change = b.value != 0 ? a.value / b.value - 1 : a.value - b.value;
  const double limit = std::max(comparison.tolerance, figure.noise);
  if (!judged)
    figure.verdict = ComparedFigure::Verdict::too_short;
  else if (std::isnan(a.value) != std::isnan(b.value))
    figure.verdict =
        std::isnan(a.value) ? ComparedFigure::Verdict::worse : ComparedFigure::Verdict::better;
  else if (a.value - b.value > limit * std::abs(b.value))
    figure.verdict = ComparedFigure::Verdict::worse;
  else if (b.value - a.value > limit * std::abs(b.value))
    figure.verdict = ComparedFigure::Verdict::better;
  comparison.figures.push_back(figure);
}

bool more_is_better(std::string_view what) {
  return what.ends_with("_per_second") || what == "goodput";
}

std::string unit_of(std::string_view what) {
  if (what.starts_with("memory.")) return "B";
  if (what.ends_with("_per_second")) return "1/s";
  return what == "goodput" ? "" : "s";
}

void compare_figures(const Run& run, const Run& baseline, Comparison& comparison) {
  const auto of = [](const Run& one, const std::string& what) {
    const auto found = one.figures.find(what);
    return found == one.figures.end() ? std::optional<Measured>() : found->second;
  };
  const double step = of(baseline, "step_seconds").value_or(Measured{}).value;
  std::vector<std::string> names{"step_seconds", "samples_per_second", "tokens_per_second"};
  for (const std::string_view phase : telemetry::phase_names)
    names.push_back(fmt::format("phases.{}", phase));
  for (const char* name : {"memory.peak", "memory.allocated", "memory.rss", "goodput"})
    names.emplace_back(name);
  for (const std::string& what : names) {
    const auto a = of(run, what), b = of(baseline, what);
    if (!a || !b || (a->value == 0 && b->value == 0)) continue;
    ComparedFigure figure{
        .what = what, .unit = unit_of(what), .run = a->value, .baseline = b->value};
    const double difference = a->value - b->value;
    // What a phase gains or loses counts against the step.
    const double size =
        what.starts_with("phases.") ? std::max(b->value, least_share * step) : std::abs(b->value);
    figure.change = b->value != 0 ? a->value / b->value - 1 : difference;
    figure.noise = size > 0 ? errors * std::hypot(a->error, b->error) / size : 0;
    if (what == "goodput") {
      // It tells of interruptions and of the length of the run, not of the program.
    } else if (!a->judged || !b->judged) {
      figure.verdict = ComparedFigure::Verdict::too_short;
    } else if (std::abs(difference) > std::max(comparison.tolerance, figure.noise) * size) {
      const bool better = (difference > 0) == more_is_better(what);
      figure.verdict = better ? ComparedFigure::Verdict::better : ComparedFigure::Verdict::worse;
    }
    comparison.figures.push_back(figure);
  }
}

std::string_view name_of(ComparedFigure::Verdict verdict) {
  switch (verdict) {
    case ComparedFigure::Verdict::better:
      return "better";
    case ComparedFigure::Verdict::worse:
      return "worse";
    case ComparedFigure::Verdict::too_short:
      return "too short to judge";
    default:
      return "same";
  }
}

bool judged_any(const Comparison& comparison) {
  return std::any_of(
      comparison.figures.begin(), comparison.figures.end(), [](const ComparedFigure& f) {
        return f.what != "goodput" && f.verdict != ComparedFigure::Verdict::too_short;
      });
}

std::string value_text(double value, std::string_view unit) {
  if (unit == "B") return fmt::format("{:.1f} MiB", value / (1 << 20));
  return fmt::format("{:.4g}{}{}", value, unit.empty() ? "" : " ", unit);
}

}  // namespace

Comparison compare_runs(const RunPaths& run, const RunPaths& baseline, double tolerance) {
  const Run mine = read_run(run), other = read_run(baseline);
  Comparison comparison;
  comparison.run = run.root.string();
  comparison.baseline = baseline.root.string();
  comparison.tolerance = tolerance;
  compare_configurations(mine, other, comparison);
  compare_losses(mine, other, comparison);
  compare_figures(mine, other, comparison);
  compare_last_loss(mine, other, comparison);
  comparison.regressed = std::any_of(
      comparison.figures.begin(), comparison.figures.end(),
      [](const ComparedFigure& f) { return f.verdict == ComparedFigure::Verdict::worse; });
  return comparison;
}

std::string comparison_text(const Comparison& comparison) {
  std::string text = fmt::format("run       {}\nbaseline  {}\n\n", plain_text(comparison.run),
                                 plain_text(comparison.baseline));
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "{:<22}{:>16}{:>16}{:>10}\n", "", "run", "baseline", "change");
  for (const ComparedFigure& f : comparison.figures)
    fmt::format_to(out, "{:<22}{:>16}{:>16}{:>+8.1f} %{}{}\n", f.what, value_text(f.run, f.unit),
                   value_text(f.baseline, f.unit), 100 * f.change,
                   f.verdict == ComparedFigure::Verdict::same ? "" : "  ",
                   f.verdict == ComparedFigure::Verdict::same ? "" : name_of(f.verdict));
  text += '\n';
  if (comparison.common_steps == 0)
    text += "losses: no step was logged by both\n";
  else if (!comparison.first_different_step)
    fmt::format_to(out, "losses: equal in all bits at all {} common steps\n",
                   comparison.common_steps);
  else if (comparison.largest_at_step < 0)
    fmt::format_to(out,
                   "losses: from step {} on ({} common steps) finite in one of the runs only\n",
                   *comparison.first_different_step, comparison.common_steps);
  else
    fmt::format_to(out,
                   "losses: differ from step {} on ({} common steps), most at step {}: {:.3g} "
                   "relative\n",
                   *comparison.first_different_step, comparison.common_steps,
                   comparison.largest_at_step, comparison.largest_loss_difference);
  if (comparison.configuration.empty()) {
    text += "configurations: the same\n";
  } else {
    text += "configurations differ:\n";
    for (const ComparedKey& key : comparison.configuration)
      fmt::format_to(out, "  {}: {} (baseline {})\n", plain_text(key.key), plain_text(key.run),
                     plain_text(key.baseline));
  }
  fmt::format_to(out, "\n{} (tolerance {:.3g} %)\n",
                 comparison.regressed     ? "REGRESSED"
                 : judged_any(comparison) ? "no regression"
                                          : "too short to judge",
                 100 * comparison.tolerance);
  return text;
}

std::string comparison_json(const Comparison& comparison) {
  Json figures = Json::array(), keys = Json::array();
  for (const ComparedFigure& f : comparison.figures)
    figures.push_back({{"what", f.what},
                       {"unit", f.unit},
                       {"run", f.run},
                       {"baseline", f.baseline},
                       {"change", f.change},
                       {"noise", f.noise},
                       {"verdict", name_of(f.verdict)}});
  for (const ComparedKey& key : comparison.configuration)
    keys.push_back({{"key", key.key}, {"run", key.run}, {"baseline", key.baseline}});
  const Json json = {
      {"schema", 1},
      {"run", comparison.run},
      {"baseline", comparison.baseline},
      {"tolerance", comparison.tolerance},
      {"regressed", comparison.regressed},
      {"figures", std::move(figures)},
      {"losses",
       {{"common_steps", comparison.common_steps},
        {"first_different_step",
         comparison.first_different_step ? Json(*comparison.first_different_step) : Json()},
        {"largest_difference", comparison.largest_loss_difference},
        {"largest_at_step", comparison.largest_at_step}}},
      {"configuration", std::move(keys)}};
  return dump(json, 2) + "\n";
}

}  // namespace trireme::report
