#include <trireme/core/error.h>
#include <trireme/core/wall_clock.h>
#include <trireme/report/records.h>
#include <trireme/report/run_records.h>

#include "run_records_files.h"
#include "run_records_metrics.h"
#include "run_records_points.h"
#include "run_records_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

constexpr size_t most_points = 2000;
constexpr size_t most_events = 400;  // of each name
constexpr size_t most_findings = 200;
constexpr size_t most_operators = 200;
constexpr size_t most_config = 64 * 1024;

/// `last_event`: exit.json is written after the page that a run makes when it ends.
std::string state_of(const Json& exit, bool held, const std::string& last_event, bool has_records) {
  if (exit.is_object()) {
    const Json code = exit.value("code", Json());
    if (code == 0) return "finished";
    return exit.value("resumable", Json()) == true ? "stopped" : "failed";
  }
  if (last_event == "finished") return "finished";
  if (last_event == "preempted") return "stopped";
  if (held) return "running";
  return has_records ? "lost" : "empty";
}

/// The last of a list that may grow without end.
class LastOnes {
 public:
  explicit LastOnes(size_t most) : most_(most) {}
  void add(Json record) {
    ++count_;
    records_.push_back(std::move(record));
    if (records_.size() >= 2 * most_) drop();
  }
  [[nodiscard]] std::vector<Json> take() {
    if (records_.size() > most_) drop();
    return std::move(records_);
  }
  [[nodiscard]] int64_t count() const { return count_; }

 private:
  void drop() {
    records_.erase(records_.begin(), records_.end() - static_cast<std::ptrdiff_t>(most_));
  }
  size_t most_;
  int64_t count_ = 0;
  std::vector<Json> records_;
};

Json metrics_json(const Metrics& metrics) {
  return {{"lines", metrics.lines}, {"columns", metrics.drawn.json()}};
}

Json eval_json(RunFiles& files) {
  std::vector<Json> all;
  std::vector<double> losses;
  files.lines("eval.jsonl", [&](const nlohmann::json& record) {
    all.emplace_back(record);
    const auto loss = record.find("loss");
    losses.push_back(loss != record.end() && loss->is_number() ? loss->get<double>() : NAN);
  });
  Json shown = Json::array();
  const std::span<const double> curve = losses;
  for (const size_t i : points_to_draw(std::span(&curve, 1), most_points)) {
    round_numbers(all[i], 6);
    shown.push_back(std::move(all[i]));
  }
  return shown;
}

int64_t attempt_of(const Json& record) {
  return integer_in(record, "attempt").value_or(0);
}

int64_t last_attempt_of(const Columns& metrics) {
  int64_t last = 0;
  for (const double attempt : metrics.column("attempt"))
    if (attempt > static_cast<double>(last) && attempt < 1e9) last = static_cast<int64_t>(attempt);
  return last;
}

int64_t last_attempt_of(const Json& goodput) {
  const auto attempts = goodput.is_object() ? goodput.find("attempts") : goodput.end();
  if (!goodput.is_object() || attempts == goodput.end() || !attempts->is_array()) return 0;
  return attempts->empty() ? 0 : attempt_of(attempts->back());
}

/// The report that shows the run as it is: report.json, or an estimate where that is absent or
/// tells of an attempt before.
struct CurrentReport {
  Json report;
  Json note;  ///< why it is an estimate; null: it is none
};
CurrentReport current_report(RunFiles& files, const Metrics& metrics, int64_t last_event,
                             bool finished) {
  CurrentReport current{shortened_report(files.object("report.json")), nullptr};
  const int64_t measured = last_attempt_of(metrics.drawn);
  // A finished run that is started again finishes without a step: its report stays.
  const int64_t latest = finished ? measured : std::max(measured, last_event);
  const int64_t written = attempt_of(current.report);
  if (current.report.is_null())
    current.note = "there is no report.json yet";
  else if (written > 0 && written < latest)
    current.note = fmt::format(
        "report.json is of attempt {}, and attempt {} has not written one yet", written, latest);
  if (!current.note.is_null()) current.report = estimated_report(metrics.even);

  Json goodput = files.object("goodput.json");
  if (goodput.is_object() && (!current.note.is_null() || last_attempt_of(goodput) > written)) {
    if (goodput.contains("attempts") && goodput["attempts"].is_array())
      for (Json& attempt : goodput["attempts"])
        if (attempt.is_object()) attempt.erase("marks");
    round_numbers(goodput, 6);
    current.report["goodput"] = std::move(goodput);
  }
  return current;
}

struct Events {
  Json json;  ///< in the order of the file; of each name the last ones
  int64_t last_attempt = 0;
  std::string last;  ///< name
};
Events read_events(RunFiles& files) {
  Events events;
  std::map<std::string, LastOnes> by_name;
  int64_t number = 0;
  files.lines("events.jsonl", [&](const nlohmann::json& record) {
    const auto name = record.find("event");
    if (name == record.end() || !name->is_string()) return;
    Json event(record);
    events.last_attempt = std::max(events.last_attempt, attempt_of(event));
    events.last = name->get<std::string>();
    event["number"] = ++number;
    by_name.try_emplace(events.last, most_events).first->second.add(std::move(event));
  });
  std::map<int64_t, Json> in_order;
  Json counts = Json::object();
  for (auto& [name, last] : by_name) {
    counts[name] = last.count();
    for (Json& event : last.take()) {
      const auto at = event["number"].get<int64_t>();
      event.erase("number");
      in_order.emplace(at, std::move(event));
    }
  }
  Json shown = Json::array();
  for (auto& [at, event] : in_order) shown.push_back(std::move(event));
  events.json = {{"counts", std::move(counts)}, {"shown", std::move(shown)}};
  return events;
}

Json debug_json(RunFiles& files) {
  LastOnes findings(most_findings);
  std::map<std::string, int64_t> digests;
  const auto take = [&](const nlohmann::json& record) {
    const auto which = record.find("switch"), found = record.find("findings");
    if (which == record.end() || !which->is_string()) return;
    ++digests[which->get<std::string>()];
    if (found == record.end() || !found->is_array()) return;
    for (const nlohmann::json& finding : *found) {
      if (!finding.is_object()) continue;
      Json shown(finding);
      shown["switch"] = *which;
      shown["step"] = record.value("step", nlohmann::json());
      findings.add(std::move(shown));
    }
  };
  for (const std::string& part : files.parts("debug.jsonl")) files.lines(part, take);
  const int64_t count = findings.count();
  return {{"digests", digests}, {"findings_count", count}, {"findings", findings.take()}};
}

Json operators_json(RunFiles& files) {
  Json operators = files.object("operators.json");
  if (!operators.is_object()) return nullptr;
  Json& rows = operators["operators"];
  if (rows.is_array() && rows.size() > most_operators)
    rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(most_operators), rows.end());
  round_numbers(operators, 5);
  return operators;
}

}  // namespace

std::string run_records(const RunPaths& paths, bool held) {
  std::error_code error;
  if (!std::filesystem::is_directory(paths.root, error))
    throw Error(ErrorKind::input_missing,
                paths.root.string() + " is no run folder: No such directory",
                "give the folder that run.dir of the configuration names");
  RunFiles files(paths.root);
  const Metrics metrics = read_metrics(files, most_points);
  Events events = read_events(files);
  const bool has_records = metrics.lines > 0 || !events.json["shown"].empty();
  const Json exit = files.object("exit.json");
  if (!has_records && !exit.is_object() && !files.has("config.yaml") && !files.has("report.json"))
    throw Error(ErrorKind::input_missing,
                paths.root.string() + " is no run folder: it holds none of a run's records",
                "give the folder that run.dir of the configuration names");

  const std::string state = state_of(exit, held, events.last, has_records);
  auto [report, note] = current_report(files, metrics, events.last_attempt, state == "finished");
  const bool estimated = !note.is_null();
  const std::filesystem::path absolute = std::filesystem::absolute(paths.root).lexically_normal();
  const std::filesystem::path folder = absolute.has_filename() ? absolute : absolute.parent_path();
  Json records = {{"schema", record_schema},
                  {"run", folder.filename().string()},
                  {"path", folder.string()},
                  {"made", utc_time()},
                  {"state", state},
                  {"exit", exit},
                  {"report", std::move(report)},
                  {"estimated", estimated},
                  {"note", std::move(note)},
                  {"metrics", metrics_json(metrics)},
                  {"eval", eval_json(files)},
                  {"events", std::move(events.json)},
                  {"debug", debug_json(files)},
                  {"operators", operators_json(files)},
                  {"config", files.text("config.yaml", most_config)}};
  records["unread"] = files.unread();
  return dump(records);
}

}  // namespace trireme::report
