#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/report/run_folder.h>
#include <trireme/report/verdict.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/json_lines.h>

#include "json.h"

#include <algorithm>
#include <fstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

/// The records of metrics and eval that stay; without a step none does.
bool keeps_record(const nlohmann::json& record, std::optional<int64_t> step) {
  const auto found = record.is_object() ? record.find("step") : record.end();
  return step && found != record.end() && found->is_number_integer() &&
         found->get<int64_t>() <= *step;
}

bool keeps_event(const nlohmann::json& record, std::optional<int64_t> step) {
  const auto name = record.is_object() ? record.find("event") : record.end();
  if (name == record.end()) return false;
  const bool undone = *name == "saved" || *name == "skipped";
  return !undone || keeps_record(record, step);
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
    const auto found = json.is_object() ? json.find("attempt") : json.end();
    if (found != json.end() && found->is_number_integer())
      attempt = std::max(attempt, found->get<int64_t>());
  }
  return attempt;
}

/// What has to happen before the files are opened for appending; returns the paths to be chained
/// into the constructor.
RunPaths prepare(RunPaths paths, const std::optional<RunFolder::Resumed>& resumed) {
  std::optional<int64_t> step, evaluated;
  if (resumed) step = resumed->step, evaluated = resumed->evaluated;
  storage::remove_temporaries(paths.root);
  storage::truncate_jsonl(paths.metrics(),
                          [&](const nlohmann::json& record) { return keeps_record(record, step); });
  storage::truncate_jsonl(
      paths.eval(), [&](const nlohmann::json& record) { return keeps_record(record, evaluated); });
  storage::truncate_jsonl(paths.events(),
                          [&](const nlohmann::json& record) { return keeps_event(record, step); });
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
      paths_(prepare(std::move(paths), resumed)),
      metrics_(paths_.metrics()),
      eval_(paths_.eval()),
      events_(paths_.events()) {
  storage::replace_file(paths_.config(), config_yaml);
}

RunFolder::~RunFolder() {
  if (lost_.count() > 0)
    log::warning("{}: {} record{} of metrics, evaluations and events could not be written",
                 paths_.root.native(), lost_.count(), lost_.count() == 1 ? "" : "s");
}

void RunFolder::log_metrics(const StepMetrics& metrics, const Window& window) {
  append(metrics_, metrics_line(metrics, window, hosts_, attempt_));
  totals_.add(window);
}

void RunFolder::log_eval(const EvalMetrics& metrics) {
  append(eval_, eval_line(metrics, attempt_));
}

void RunFolder::log_event(const Event& event) {
  append(events_, event_line(event, attempt_, utc_time()));
}

void RunFolder::append(storage::AppendFile& file, std::string_view line) {
  try {
    file.append_line(line);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;
    if (lost_.add(LostRecords::Clock::now()))
      log::warning("a record is lost ({} so far), the run goes on: {}", lost_.count(),
                   error.message());
  }
}

std::string RunFolder::write_report(std::span<const UnitSpread> units) {
  try {
    storage::replace_file(paths_.report(), totals_.report_json(hosts_, attempt_, units));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;
    log::warning("the report could not be written: {}", error.message());
  }
  return judge(totals_.rows(), hosts_).text;
}

}  // namespace trireme::report
