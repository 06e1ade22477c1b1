#include <trireme/core/wall_clock.h>
#include <trireme/report/goodput.h>
#include <trireme/report/records.h>

#include "json.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include <unistd.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

constexpr size_t most_marks = 128;

/// The rank that waits least for the others: they wait for it.
const RankRow& critical_row(const Window& window) {
  return *std::min_element(
      window.rows.begin(), window.rows.end(), [](const RankRow& a, const RankRow& b) {
        return a[index_of(Phase::comm_exposed)] < b[index_of(Phase::comm_exposed)];
      });
}

Json parts_json(const Goodput& parts) {
  return {{"wall_seconds", parts.wall},
          {"useful_seconds", parts.useful},
          {"startup_seconds", parts.startup},
          {"checkpoint_seconds", parts.checkpoint},
          {"evaluation_seconds", parts.evaluation},
          {"waiting_seconds", parts.waiting},
          {"other_seconds", parts.other},
          {"lost_seconds", parts.lost},
          {"down_seconds", parts.down}};
}

}  // namespace

GoodputLedger::GoodputLedger(std::string_view previous, int64_t attempt,
                             std::optional<int64_t> resumed_step, double started)
    : attempts_(read(previous)) {
  if (!attempts_.empty() && attempts_.back().done && !resumed_step) attempts_.clear();
  const int64_t step = resumed_step.value_or(0);
  for (Attempt& before : attempts_)
    before.lost = std::max(before.lost, before.useful - useful_until(before, step));
  if (!attempts_.empty()) started = std::max(started, attempts_.back().last_seen);
  attempts_.push_back({.attempt = attempt,
                       .started = started,
                       .last_seen = started,
                       .from_step = step,
                       .to_step = step});
}

double GoodputLedger::useful_until(const Attempt& attempt, int64_t step) {
  double before = 0;
  int64_t before_step = attempt.from_step;
  for (const auto& [mark, useful] : attempt.marks) {
    if (step < mark) {
      const double part = static_cast<double>(std::max<int64_t>(0, step - before_step)) /
                          static_cast<double>(mark - before_step);
      return before + part * (useful - before);
    }
    before = useful, before_step = mark;
  }
  return attempt.useful;
}

GoodputLedger::Attempt& GoodputLedger::at(double now) {
  Attempt& attempt = attempts_.back();
  attempt.last_seen = std::max(attempt.last_seen, now);
  return attempt;
}

void GoodputLedger::first_step(double now) {
  Attempt& attempt = at(now);
  if (!attempt.first_step_at) attempt.first_step_at = attempt.last_seen;
}

void GoodputLedger::add(const Window& window, int64_t step, double now) {
  Attempt& attempt = at(now);
  if (step <= attempt.to_step || window.rows.empty()) return;
  const auto steps = static_cast<double>(step - attempt.to_step);
  const RankRow& row = critical_row(window);
  const double seconds = row[index_of(Item::step_seconds)];
  const double waiting = row[index_of(Phase::data)] + row[index_of(Phase::comm_exposed)];
  const double checkpoint = row[index_of(Phase::checkpoint)];
  if (!attempt.first_step_at)
    attempt.first_step_at = std::max(attempt.started, attempt.last_seen - steps * seconds);
  attempt.waiting += steps * waiting;
  attempt.checkpoint += steps * checkpoint;
  attempt.useful += steps * std::max(0.0, seconds - waiting - checkpoint);
  attempt.to_step = step;
  std::vector<std::pair<int64_t, double>>& marks = attempt.marks;
  marks.emplace_back(step, attempt.useful);
  if (marks.size() < most_marks) return;
  for (size_t i = 0; i < marks.size() / 2; ++i) marks[i] = marks[2 * i + 1];
  marks.resize(marks.size() / 2);
}

void GoodputLedger::evaluation(double seconds, double now) {
  at(now).evaluation += seconds;
}

void GoodputLedger::checkpoint(double seconds, double now) {
  at(now).checkpoint += seconds;
}

void GoodputLedger::finish(bool done, double now) {
  at(now).done = done;
}

Goodput GoodputLedger::parts_of(const Attempt& attempt) {
  Goodput parts;
  parts.wall = attempt.last_seen - attempt.started;
  parts.startup = attempt.first_step_at.value_or(attempt.last_seen) - attempt.started;
  parts.useful = attempt.useful - attempt.lost;
  parts.lost = attempt.lost;
  parts.checkpoint = attempt.checkpoint;
  parts.evaluation = attempt.evaluation;
  parts.waiting = attempt.waiting;
  parts.other = std::max(0.0, parts.wall - parts.startup - attempt.useful - parts.checkpoint -
                                  parts.evaluation - parts.waiting);
  return parts;
}

double GoodputLedger::down_before(size_t index) const {
  if (index == 0 || attempts_[index - 1].done) return 0;
  return std::max(0.0, attempts_[index].started - attempts_[index - 1].last_seen);
}

Goodput GoodputLedger::totals() const {
  Goodput all;
  for (size_t i = 0; i < attempts_.size(); ++i) {
    const Goodput parts = parts_of(attempts_[i]);
    const double down = down_before(i);
    all.wall += parts.wall + down;
    all.useful += parts.useful;
    all.startup += parts.startup;
    all.checkpoint += parts.checkpoint;
    all.evaluation += parts.evaluation;
    all.waiting += parts.waiting;
    all.other += parts.other;
    all.lost += parts.lost;
    all.down += down;
  }
  return all;
}

std::string GoodputLedger::json(bool marks) const {
  const Goodput all = totals();
  Json json = {{"schema", record_schema}};
  json.update(parts_json(all));
  json["goodput"] = all.goodput();
  json["attempts"] = Json::array();
  for (size_t i = 0; i < attempts_.size(); ++i) {
    const Attempt& attempt = attempts_[i];
    Goodput parts = parts_of(attempt);
    parts.down = down_before(i);
    Json entry = {{"attempt", attempt.attempt},
                  {"started", attempt.started},
                  {"first_step_at", attempt.first_step_at ? Json(*attempt.first_step_at) : Json()},
                  {"last_seen", attempt.last_seen},
                  {"from_step", attempt.from_step},
                  {"to_step", attempt.to_step},
                  {"done", attempt.done}};
    entry.update(parts_json(parts));
    if (marks) entry["marks"] = attempt.marks;
    json["attempts"].push_back(std::move(entry));
  }
  return dump(json, 1) + "\n";
}

std::vector<GoodputLedger::Attempt> GoodputLedger::read(std::string_view previous) {
  const Json json = Json::parse(previous, nullptr, /*allow_exceptions=*/false);
  std::vector<Attempt> attempts;
  try {
    for (const Json& entry : json.at("attempts")) {
      Attempt& attempt = attempts.emplace_back();
      attempt.attempt = entry.at("attempt").get<int64_t>();
      attempt.started = entry.at("started").get<double>();
      attempt.last_seen = entry.at("last_seen").get<double>();
      if (!entry.at("first_step_at").is_null())
        attempt.first_step_at = entry.at("first_step_at").get<double>();
      attempt.from_step = entry.at("from_step").get<int64_t>();
      attempt.to_step = entry.at("to_step").get<int64_t>();
      attempt.done = entry.at("done").get<bool>();
      attempt.lost = entry.at("lost_seconds").get<double>();
      attempt.useful = entry.at("useful_seconds").get<double>() + attempt.lost;
      attempt.checkpoint = entry.at("checkpoint_seconds").get<double>();
      attempt.evaluation = entry.at("evaluation_seconds").get<double>();
      attempt.waiting = entry.at("waiting_seconds").get<double>();
      attempt.marks = entry.at("marks").get<std::vector<std::pair<int64_t, double>>>();
    }
  } catch (const nlohmann::json::exception&) {
    return {};  // a run is not ended by a damaged ledger; it only forgets
  }
  return attempts;
}

double process_started() {
  const double now = wall_clock_seconds();
  std::ifstream stat("/proc/self/stat"), up("/proc/uptime");
  const std::string text{std::istreambuf_iterator<char>(stat), std::istreambuf_iterator<char>()};
  const size_t name_end = text.rfind(')');  // the name may hold anything
  double uptime = 0, ticks = 0;
  if (name_end == std::string::npos || !(up >> uptime)) return now;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  const long ticks_per_second = sysconf(_SC_CLK_TCK);
  if (!(fields >> ticks) || ticks_per_second <= 0) return now;
  const double age = uptime - ticks / static_cast<double>(ticks_per_second);
  return age >= 0 ? now - age : now;
}

}  // namespace trireme::report
