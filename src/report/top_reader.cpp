#include "report/top_reader.h"

#include <trireme/config/document.h>
#include <trireme/core/error.h>
#include <trireme/storage/file_reader.h>

#include "report/json_in.h"
#include "report/top_words.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using Json = nlohmann::json;

constexpr size_t metrics_bytes = 512 << 10, events_bytes = 64 << 10;
constexpr size_t kept_records = 60, kept_events = 8;
constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

/// The object in a small file of JSON; null if there is none.
Json object_in(const std::filesystem::path& path) {
  try {
    Json json = Json::parse(storage::FileReader(path).text(), nullptr, /*allow_exceptions=*/false);
    return json.is_object() ? json : Json();
  } catch (const Error&) {
    return {};
  }
}

template <class Take>
void each_object(const std::vector<std::string>& lines, const Take& take) {
  for (const std::string& line : lines) {
    Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) take(std::move(json));
  }
}

template <class Queue, class Value>
void push_bounded(Queue& queue, Value&& value, size_t most) {
  queue.push_back(std::forward<Value>(value));
  if (queue.size() > most) queue.pop_front();
}

std::vector<TopRun::Spread> spreads_of(const Json& json) {
  // In the order of the files, which the parser does not keep.
  constexpr std::array order{"data",      "forward",  "backward",   "comm_exposed",
                             "optimizer", "graph",    "checkpoint", "other",
                             "allocated", "reserved", "peak",       "rss"};
  std::vector<TopRun::Spread> spreads;
  if (!json.is_object()) return spreads;
  for (const auto& [name, spread] : json.items())
    if (at(spread, "max").is_number())
      spreads.push_back({.name = name,
                         .mean = number(spread, "mean"),
                         .max = number(spread, "max"),
                         .max_rank = static_cast<int>(integer(spread, "max_rank", -1)),
                         .max_host = text(spread, "max_host")});
  const auto place = [&](const TopRun::Spread& spread) {
    return std::find(order.begin(), order.end(), spread.name) - order.begin();
  };
  std::stable_sort(spreads.begin(), spreads.end(),
                   [&](const auto& a, const auto& b) { return place(a) < place(b); });
  return spreads;
}

}  // namespace

TopReader::TopReader(const std::filesystem::path& run_dir)
    : paths_{run_dir},
      metrics_(paths_.metrics(), metrics_bytes),
      evaluations_(paths_.eval(), events_bytes),
      events_(paths_.events(), events_bytes),
      debug_(run_dir / "debug.jsonl", events_bytes) {
  std::error_code error;
  for (const auto& path : {paths_.config(), paths_.lock(), paths_.metrics(), paths_.exit()})
    if (std::filesystem::exists(path, error)) return;
  throw Error(ErrorKind::input_missing,
              std::filesystem::is_directory(run_dir, error)
                  ? fmt::format("{} is no run folder: it holds no config.yaml, run.lock, "
                                "metrics.jsonl or exit.json",
                                run_dir.string())
                  : fmt::format("{}: No such directory", run_dir.string()),
              "name the folder that a run writes to, its run.dir");
}

TopRun TopReader::read(const TopHolder& holder, double now) {
  TopRun run;
  run.path = paths_.root.string();
  read_metrics(run, now);
  read_evaluation(run);
  read_events(run);
  read_findings(run);
  judge(run, holder);
  run.attempt = attempt_;
  run.ranks = ranks_;
  run.total = steps_ > 0 ? steps_ : configured_steps();
  if (run.state == TopRun::State::finished || run.state == TopRun::State::stopped)
    read_verdict(run);
  if (run.state == TopRun::State::running) {
    read_switches(run);
    const double seconds = seconds_a_step();
    if (run.total > 0 && run.total >= run.step && std::isfinite(seconds))
      run.seconds_left = seconds * static_cast<double>(run.total - run.step);
  }
  return run;
}

/// By the clock if it was watched for some time, else by the windows, which leave out what lies
/// between steps.
double TopReader::seconds_a_step() const {
  constexpr double long_enough = 10;
  if (!watched_.empty()) {
    const double seconds = watched_.back().time - watched_.front().time;
    const int64_t steps = watched_.back().step - watched_.front().step;
    if (seconds >= long_enough && steps > 0) return seconds / static_cast<double>(steps);
  }
  double sum = 0, counted = 0;
  for (auto record = records_.rbegin(); record != records_.rend() && counted < 10; ++record)
    if (const double one = number(*record, "step_seconds"); std::isfinite(one))
      sum += one, ++counted;
  return counted > 0 ? sum / counted : unknown;
}

void TopReader::read_metrics(TopRun& run, double now) {
  const LineTail::News news = metrics_.poll();
  if (news.again) {
    records_.clear();
    watched_.clear();
  }
  each_object(news.lines, [&](Json&& record) {
    attempt_ = std::max(attempt_, integer(record, "attempt"));
    push_bounded(records_, std::move(record), kept_records);
  });
  if (news.modified > 0) metrics_modified_ = news.modified;
  if (records_.empty()) return;
  const Json& last = records_.back();
  run.record_age = std::max(0.0, now - metrics_modified_);
  run.step = integer(last, "step");
  if (watched_.empty() || watched_.back().step != run.step)
    push_bounded(watched_, Watched{metrics_modified_, run.step}, kept_records);
  run.loss = number(last, "loss");
  run.lr = number(last, "lr");
  run.grad_norm = number(last, "grad_norm");
  run.step_seconds = number(last, "step_seconds");
  run.samples_per_second = number(last, "samples_per_second");
  run.tokens_per_second = number(last, "tokens_per_second");
  run.skipped = integer(last, "skipped");
  run.mfu = number(last, "mfu");
  run.goodput = number(last, "goodput");
  for (const Json& record : records_) run.losses.push_back(number(record, "loss"));
  run.phases = spreads_of(at(last, "phases"));
  run.memory = spreads_of(at(last, "memory"));
  run.sensors = spreads_of(at(last, "sensors"));
}

void TopReader::read_evaluation(TopRun& run) {
  const LineTail::News news = evaluations_.poll();
  if (news.again) evaluation_ = {};
  each_object(news.lines, [&](Json&& record) { evaluation_ = std::move(record); });
  if (evaluation_.is_null()) return;
  TopRun::Evaluation& shown = run.evaluation.emplace();
  shown.step = integer(evaluation_, "step");
  shown.loss = number(evaluation_, "loss");
  for (const auto& [name, value] : at(evaluation_, "metrics").items())
    shown.metrics.emplace_back(name, value.is_number() ? value.get<double>() : unknown);
}

void TopReader::read_events(TopRun& run) {
  const LineTail::News news = events_.poll();
  if (news.again) {
    recent_events_.clear();
    troubles_.clear();
  }
  each_object(news.lines, [&](Json&& record) {
    attempt_ = std::max(attempt_, integer(record, "attempt"));
    const std::string name = text(record, "event");
    if (name == "started" || name == "resumed") {
      ranks_ = integer(record, "ranks");
      steps_ = integer(record, "steps");
      troubles_.clear();  // of other processes
    }
    if (name == "straggler" || name == "leak")
      push_bounded(troubles_, trouble_text(record), kept_events);
    push_bounded(recent_events_, std::move(record), kept_events);
  });
  for (const Json& event : recent_events_)
    run.events.push_back({.time = text(event, "time"), .text = event_text(event)});
  run.troubles.assign(troubles_.begin(), troubles_.end());
}

void TopReader::read_findings(TopRun& run) {
  const LineTail::News news = debug_.poll();
  bool undone = news.again;    // unless the file was rotated: then what comes is later
  std::error_code unreadable;  // between two parts there is no file
  if (news.again && news.lines.empty() && std::filesystem::exists(paths_.debug(), unreadable))
    findings_.clear();
  each_object(news.lines, [&](Json&& record) {
    const int64_t step = integer(record, "step");
    if (std::exchange(undone, false) && step < found_at_) findings_.clear();
    found_at_ = step;
    for (const Json& finding : at(record, "findings"))
      push_bounded(findings_, finding_text(record, finding), kept_events);
  });
  run.findings.assign(findings_.begin(), findings_.end());
}

void TopReader::read_verdict(TopRun& run) const {
  const Json report = object_in(paths_.report());
  if (integer(report, "attempt") == attempt_) run.verdict = text(at(report, "verdict"), "text");
}

void TopReader::read_switches(TopRun& run) const {
  const Json status = object_in(paths_.control() / "debug.status.json");
  const Json& switches = at(status, "switches");
  if (!switches.is_object()) return;
  for (const auto& [name, one] : switches.items()) {
    if (one.is_object()) run.switches.push_back(switch_text(name, one));
  }
}

void TopReader::judge(TopRun& run, const TopHolder& holder) const {
  using State = TopRun::State;
  if (holder.locked && holder.live) {
    // An exit.json beside it is of the attempt before, or of this one's last moments.
    run.state = State::running;
    run.holder = holder.name;
    return;
  }
  const Json exit = object_in(paths_.exit());
  if (const std::optional<int64_t> code = integer_in(exit, "code")) {
    run.state = *code == 0                                      ? State::finished
                : *code == static_cast<int>(ErrorKind::stopped) ? State::stopped
                                                                : State::failed;
    if (*code == 0) return;
    run.message = exit_text(exit);
    run.hint = text(exit, "hint");
    return;
  }
  if (holder.locked) {
    run.state = State::lost;
    run.holder = holder.name;
    run.message = fmt::format("no sign of life: {}", holder.why);
  } else if (!records_.empty() || !recent_events_.empty()) {
    run.state = State::lost;
    run.message = "it ended without a record of why";
  }
}

int64_t TopReader::configured_steps() const {
  try {
    const config::Document document = config::Document::load(paths_.config().string());
    const config::Member* train = document.root().find("train");
    const config::Member* steps = train != nullptr ? train->value.find("steps") : nullptr;
    return steps != nullptr && steps->value.kind == config::Node::Kind::integer
               ? steps->value.integer
               : 0;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace trireme::report
