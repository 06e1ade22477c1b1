#include <trireme/core/error.h>
#include <trireme/report/scaling.h>
#include <trireme/telemetry/statistics.h>

#include "json.h"
#include "run_configuration.h"
#include "run_records_files.h"

#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include <fmt/format.h>

namespace trireme::report {
namespace {

/// What the first of the windows show is the start of the run.
constexpr size_t start_part = 10;

struct Windows {
  std::vector<double> step_seconds, samples, samples_per_second, tokens_per_second;
  std::array<std::vector<double>, telemetry::phase_count> shares;

  void add(const nlohmann::json& record) {
    const double step = number_in(record, {"step_seconds"}).value_or(0);
    const double samples_now = number_in(record, {"samples_per_second"}).value_or(0);
    if (!(step > 0) || !(samples_now > 0)) return;
    step_seconds.push_back(step);
    samples_per_second.push_back(samples_now);
    samples.push_back(samples_now * step);
    tokens_per_second.push_back(number_in(record, {"tokens_per_second"}).value_or(0));
    for (size_t i = 0; i < telemetry::phase_count; ++i)
      shares[i].push_back(
          number_in(record, {"phases", telemetry::phase_names[i], "mean"}).value_or(0) / step);
  }
};

double middle(const std::vector<double>& values) {
  return telemetry::median_of(std::span(values).subspan(values.size() / start_part));
}

Error damaged(const std::filesystem::path& file, std::string_view what) {
  return {ErrorKind::data_damaged, fmt::format("{} {}", file.string(), what),
          "give the run.dir of a run that has logged steps and written its report"};
}

}  // namespace

ScalingRun read_scaling_run(const RunPaths& paths) {
  RunFiles files(paths.root);
  for (const auto& file : {paths.report(), paths.metrics()})
    if (!files.has(file.filename().string()))
      throw Error(
          ErrorKind::input_missing, fmt::format("{} does not exist", file.string()),
          "give the run.dir of a run that has ended by itself; a killed one can be resumed");
  const Json report = files.object(paths.report().filename().string());
  const Json ranks = report.is_object() ? report.value("ranks", Json()) : Json();
  if (!ranks.is_array() || ranks.empty()) throw damaged(paths.report(), "does not tell its ranks");

  ScalingRun run{.path = paths.root.string(), .ranks = static_cast<int>(ranks.size())};
  std::set<std::string> hosts;
  for (const Json& rank : ranks)
    if (rank.is_object()) hosts.insert(rank.value("host", Json()).dump());
  run.hosts = static_cast<int>(hosts.size());

  // Attempts before may have had other ranks.
  const std::optional<int64_t> attempt = integer_in(report, "attempt");
  Windows windows;
  files.lines(paths.metrics().filename().string(), [&](const nlohmann::json& record) {
    if (integer_in(record, "attempt") == attempt) windows.add(record);
  });
  if (windows.step_seconds.empty())
    throw damaged(paths.metrics(), "holds no logged step of the attempt that report.json is of");
  run.windows = static_cast<int64_t>(windows.step_seconds.size());
  run.samples_per_step = middle(windows.samples);
  run.step_seconds = middle(windows.step_seconds);
  run.samples_per_second = middle(windows.samples_per_second);
  run.tokens_per_second = middle(windows.tokens_per_second);
  for (size_t i = 0; i < telemetry::phase_count; ++i) run.shares[i] = middle(windows.shares[i]);
  run.configuration = configuration_of(paths);
  return run;
}

}  // namespace trireme::report
