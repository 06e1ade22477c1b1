#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/core/wall_clock.h>
#include <trireme/report/run_folder.h>
#include <trireme/report/verdict.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/json_lines.h>

#include "cut_lines.h"
#include "json.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

/// Of ranks that the run does not have any more.
std::vector<std::filesystem::path> orphaned_records(const RunPaths& paths, size_t ranks) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator file(paths.logs(), error), end; !error && file != end;
       file.increment(error))
    if (const std::string name = file->path().filename().string();
        name.starts_with("rank") && name.ends_with(".jsonl")) {
      size_t rank = 0;
      const char* const last = name.data() + name.size() - std::string_view(".jsonl").size();
      const auto [stop, bad] = std::from_chars(name.data() + 4, last, rank);
      if (bad == std::errc() && stop == last && rank >= ranks) files.push_back(file->path());
    }
  return files;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::optional<int64_t> step_of(const std::optional<RunFolder::Resumed>& resumed) {
  return resumed ? std::optional<int64_t>(resumed->step) : std::nullopt;
}

bool keeps_event(const nlohmann::json& record, std::optional<int64_t> step) {
  const auto name = record.is_object() ? record.find("event") : record.end();
  if (name == record.end()) return false;
  const bool undone = *name == "saved" || *name == "skipped" || *name == "profiled" ||
                      *name == "straggler" || *name == "leak";
  return !undone || is_until(record, step);
}

/// The highest attempt among the last lines of a .jsonl file. A few of them are enough: attempts
/// only grow.
int64_t attempt_of(const std::filesystem::path& path) {
  constexpr std::streamoff tail = 64 * 1024;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return 0;
  file.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(file.tellg()) - tail));
  int64_t attempt = 0;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    attempt = std::max(attempt, integer_in(json, "attempt").value_or(0));
  }
  return attempt;
}

/// What has to happen before the files are opened for appending; returns the paths to be chained
/// into the constructor.
RunPaths prepare(RunPaths paths, const std::optional<RunFolder::Resumed>& resumed, size_t ranks) {
  std::optional<int64_t> step, evaluated;
  if (resumed) step = resumed->step, evaluated = resumed->evaluated;
  storage::remove_temporaries(paths.root);
  storage::remove_temporaries(paths.control());
  storage::truncate_jsonl(paths.metrics(),
                          [&](const nlohmann::json& record) { return is_until(record, step); });
  storage::truncate_jsonl(
      paths.eval(), [&](const nlohmann::json& record) { return is_until(record, evaluated); });
  storage::truncate_jsonl(paths.events(),
                          [&](const nlohmann::json& record) { return keeps_event(record, step); });
  for (const auto& part : storage::rotated_parts(paths.debug()))
    storage::truncate_jsonl(part,
                            [&](const nlohmann::json& record) { return is_until(record, step); });
  for (const auto& file : orphaned_records(paths, ranks)) cut_lines_back(file, step);
  // Scripts take an absent exit.json for a run that is under way or was lost; an old one would lie
  // to them.
  std::error_code error;
  std::filesystem::remove(paths.exit(), error);
  if (error)
    throw Error(ErrorKind::storage,
                fmt::format("{} cannot be removed: {}", paths.exit().string(), error.message()),
                "check the permissions of run.dir");
  return paths;
}

/// A process that is killed loses so much of the ledger.
constexpr std::chrono::seconds goodput_every{10};

Event event_of(const Straggler& found, int64_t step, std::span<const std::string> hosts) {
  return {"straggler",
          step,
          {{"rank", static_cast<int64_t>(found.rank)},
           {"host", std::string(host_of(found.rank, hosts))},
           {"section", std::string(telemetry::name_of(found.section))},
           {"excess", found.excess},
           {"seconds", found.seconds},
           {"from_step", found.from_step}}};
}

Event event_of(const Leak& found, int64_t step, std::span<const std::string> hosts) {
  return {"leak",
          step,
          {{"rank", static_cast<int64_t>(found.rank)},
           {"host", std::string(host_of(found.rank, hosts))},
           {"what", std::string(found.what)},
           {"bytes_per_step", found.bytes_per_step},
           {"from_step", found.from_step}}};
}

/// Whether the file could be replaced; says so if not.
bool replaced(const std::filesystem::path& path, std::string_view text, std::string_view what) {
  try {
    storage::replace_file(path, text);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;
    log::warning("{} could not be written: {}", what, error.message());
    return false;
  }
}

}  // namespace

void make_run_folder(const RunPaths& paths) {
  for (const auto& folder : {paths.logs(), paths.control(), paths.checkpoints()})
    storage::make_directories(folder);
}

int64_t last_attempt(const RunPaths& paths) {
  return std::max(
      {attempt_of(paths.events()), attempt_of(paths.metrics()), attempt_of(paths.eval())});
}

RunFolder::RunFolder(RunPaths paths, std::string_view config_yaml, std::optional<Resumed> resumed,
                     std::vector<std::string> hosts)
    : hosts_(std::move(hosts)),
      attempt_(last_attempt(paths) + 1),
      paths_(prepare(std::move(paths), resumed, hosts_.size())),
      goodput_(text_of(paths_.goodput()), attempt_, step_of(resumed), process_started()),
      metrics_(paths_.metrics()),
      eval_(paths_.eval()),
      events_(paths_.events()),
      debug_(paths_.debug()) {
  storage::replace_file(paths_.config(), config_yaml);
}

RunFolder::~RunFolder() {
  if (lost_.count() > 0)
    log::warning("{}: {} record{} of metrics, evaluations and events could not be written",
                 paths_.root.native(), lost_.count(), lost_.count() == 1 ? "" : "s");
}

void RunFolder::first_step() {
  goodput_.first_step(wall_clock_seconds());
  save_goodput(/*now=*/true);
}

void RunFolder::alive() {
  goodput_.seen(wall_clock_seconds());
  save_goodput(/*now=*/false);
}

void RunFolder::evaluation(double seconds) {
  goodput_.evaluation(seconds, wall_clock_seconds());
  save_goodput(/*now=*/false);
}

void RunFolder::checkpoint(double seconds) {
  goodput_.checkpoint(seconds, wall_clock_seconds());
  save_goodput(/*now=*/false);
}

void RunFolder::finish(bool done) {
  goodput_.finish(done, wall_clock_seconds());
  save_goodput(/*now=*/true);
}

Findings RunFolder::log_metrics(const StepMetrics& metrics, const Window& window) {
  goodput_.add(window, metrics.step, wall_clock_seconds());
  append(metrics_, metrics_line(metrics, window, hosts_, attempt_, goodput_.totals().goodput()));
  save_goodput(/*now=*/false);
  totals_.add(window);
  history_.add(window, metrics.step);
  losses_.add(metrics.step, metrics.loss);
  Findings findings{.straggler = stragglers_.observe(window.rows, metrics.step),
                    .leaks = leaks_.observe(window.rows, metrics.step)};
  if (findings.straggler) log_event(event_of(*findings.straggler, metrics.step, hosts_));
  for (const Leak& leak : findings.leaks) log_event(event_of(leak, metrics.step, hosts_));
  return findings;
}

void RunFolder::log_eval(const EvalMetrics& metrics) {
  append(eval_, eval_line(metrics, attempt_));
}

void RunFolder::log_findings(std::span<const std::string> lines) {
  for (const std::string& line : lines)
    write_or_lose(lost_findings_, "findings of debug switches are",
                  [&] { debug_.append_line(line); });
}

void RunFolder::log_event(const Event& event) {
  append(events_, event_line(event, attempt_, utc_time()));
}

void RunFolder::append(storage::AppendFile& file, std::string_view line) {
  write_or_lose(lost_, "a record is", [&] { file.append_line(line); });
}

void RunFolder::save_goodput(bool now) {
  const auto time = LostRecords::Clock::now();
  if (!now && goodput_saved_ && time - *goodput_saved_ < goodput_every) return;
  goodput_saved_ = time;
  // Nothing is lost for good: the next text holds it all.
  (void)replaced(paths_.goodput(), goodput_.json(), "the ledger of goodput");
}

std::string RunFolder::write_report(ReportParts parts) {
  parts.known.stragglers = stragglers_.found();
  parts.known.leaks = leaks_.leaks();
  parts.known.losses = losses_.points();
  parts.known.working_seconds = stragglers_.early_working();
  save_goodput(/*now=*/true);
  (void)replaced(
      paths_.report(),
      totals_.report_json(hosts_, attempt_, parts, history_.json(), goodput_.json(/*marks=*/false)),
      "the report");
  return judge(totals_.rows(), hosts_, parts.known).text;
}

}  // namespace trireme::report
