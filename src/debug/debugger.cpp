#include <trireme/core/error.h>
#include <trireme/core/log.h>

#include "debug/debugger_state.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {
namespace {

std::string names_text(std::span<const Switch> switches) {
  std::string text;
  for (const Switch which : switches)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", name_of(which));
  return text;
}

/// A recording is bounded: it is kept in memory until it ends.
std::optional<int64_t> steps_of(Switch which, const Request& request) {
  if (is_profiler(which)) return request.steps.value_or(default_profile_steps);
  return request.steps;
}

}  // namespace

Debugger::Debugger(Settings settings, MakeTool make) : shared_(std::make_unique<Shared>()) {
  shared_->settings = std::move(settings);
  shared_->make = std::move(make);
}

Debugger::~Debugger() {
  try {
    tell_untold();
  } catch (...) {  // the records have it
  }
}

Debugger::Entry* Debugger::find(Switch which) const {
  const auto found =
      std::ranges::find_if(entries_, [which](const auto& entry) { return entry->which == which; });
  return found == entries_.end() ? nullptr : found->get();
}

bool Debugger::on(Switch which) const {
  return find(which) != nullptr;
}

bool Debugger::on_here(Switch which) const {
  const Entry* entry = find(which);
  return entry != nullptr && entry->here && !entry->failures.contains(shared_->rank());
}

const Debugger::Placement* Debugger::placement(Switch which) const {
  const Entry* entry = find(which);
  return entry == nullptr ? nullptr : &entry->placement;
}

std::vector<Switch> Debugger::switches_on() const {
  std::vector<Switch> switches;
  for (const auto& entry : entries_) switches.push_back(entry->which);
  return switches;
}

bool Debugger::needs_eager_steps() const {
  return std::ranges::any_of(entries_,
                             [](const auto& entry) { return sees_inside_steps(entry->which); });
}

Debugger::Change Debugger::apply(const Request& request, int64_t step) {
  // Only what all ranks know may refuse.
  shared_->step = step;
  const int ranks = shared_->settings.subject.ranks;
  Change change;
  if (request.action == Request::Action::disable) {
    for (const Switch which : request.switches.empty() ? switches_on() : request.switches)
      if (on(which)) change.off.push_back(which);
    for (const Switch which : change.off) turn_off(which);
    if (change.off.empty() && request.id.empty()) return change;  // nobody wants to know
    answer(request, true,
           change.off.empty() ? "nothing of it was on"
                              : fmt::format("{} off since step {}", names_text(change.off), step));
    return change;
  }
  try {
    if (shared_->settings.refuse)
      throw Error(ErrorKind::configuration,
                  "run.profile is production, which refuses debug switches",
                  "resume the run with run.profile=development");
    check_ranks(request, ranks, ErrorKind::configuration);
    if (request.switches.empty())
      throw Error(ErrorKind::configuration, "it names no switch to enable");
    if (request.steps && (*request.steps < 1 || *request.steps > most_steps))
      throw Error(ErrorKind::configuration,
                  fmt::format("steps {} is out of range", *request.steps));
    if (request.steps && *request.steps > most_profile_steps &&
        std::ranges::any_of(request.switches, is_profiler))
      throw Error(ErrorKind::configuration,
                  fmt::format("steps {} is out of range for a profiler", *request.steps),
                  fmt::format("it keeps in memory what it records, of at most {} steps",
                              most_profile_steps));
    if (request.every_steps < 1)
      throw Error(ErrorKind::configuration,
                  fmt::format("every_steps {} is out of range", request.every_steps));
  } catch (const Error& refusal) {
    answer(request, false,
           refusal.message() + (refusal.hint().empty() ? "" : "; " + refusal.hint()));
    return {};
  }
  for (const Switch which : request.switches) {
    enable(which, request, step);
    if (std::ranges::find(change.on, which) == change.on.end()) change.on.push_back(which);
  }
  std::string until = request.steps ? fmt::format(" until step {}", step + *request.steps) : "";
  if (!request.steps && std::ranges::any_of(change.on, is_profiler))
    until = fmt::format("{} until step {}: a profiler records {} steps unless told",
                        std::ranges::all_of(change.on, is_profiler) ? "" : ", of which profilers",
                        step + default_profile_steps, default_profile_steps);
  answer(request, true,
         fmt::format("{} on since step {} on {}{}", names_text(change.on), step,
                     ranks_text(request.ranks), until));
  return change;
}

void Debugger::refuse(const Request& request, const std::string& why) {
  answer(request, false, why);
}

void Debugger::enable(Switch which, const Request& request, int64_t step) {
  if (on(which)) turn_off(which);
  shared_->failed.erase(which);
  const int rank = shared_->rank();
  auto entry = std::make_unique<Entry>(
      Entry{.which = which,
            .placement = {.ranks = request.ranks,
                          .since_step = step,
                          .every_steps = request.every_steps,
                          .origin = request.origin},
            .here = request.ranks.empty() ||
                    std::ranges::find(request.ranks, rank) != request.ranks.end()});
  if (const auto steps = steps_of(which, request)) entry->placement.until_step = step + *steps;
  Entry& added = *entry;
  const auto place =
      std::ranges::find_if(entries_, [which](const auto& one) { return one->which > which; });
  entries_.insert(place, std::move(entry));
  if (added.here && !is_profiler(which)) begin(added);
}

void Debugger::begin(Entry& entry) {
  try {
    entry.journal =
        std::make_unique<SwitchJournal>(SwitchJournal::Origin{.which = entry.which,
                                                              .rank = shared_->rank(),
                                                              .attempt = shared_->settings.attempt,
                                                              .step = &shared_->step},
                                        shared_->settings.logs);
    entry.tool = shared_->make(entry.which, shared_->settings.subject, *entry.journal);
    check(entry.tool != nullptr, "there is a tool for each switch");
    ++living_;
    check(!entry.tool->needs_eager_steps() || sees_inside_steps(entry.which),
          "a tool that needs eager steps is one that sees inside of them");
  } catch (...) {
    fail(entry, reason_in_flight());
  }
}

void Debugger::turn_off(Switch which) {
  const auto found =
      std::ranges::find_if(entries_, [which](const auto& entry) { return entry->which == which; });
  Entry& entry = **found;
  SwitchDigest last;
  if (entry.tool) {
    try {
      last.digest = entry.tool->digest();
    } catch (...) {
      fail(entry, reason_in_flight());
    }
  }
  if (entry.tool) {
    entry.tool.reset();
    --living_;
  }
  shared_->collect(entry, last);  // after the tool's end, which may find something
  SwitchDigest& ended = shared_->ended[which];
  if (!last.digest.empty()) ended.digest = std::move(last.digest);
  for (std::string& text : last.findings) ended.findings.push_back(std::move(text));
  ended.findings_left_out += last.findings_left_out;
  if (last.failed) {
    ended.failed = last.failed;
    ended.since_step = last.since_step;
  }
  shared_->something_ended = true;
  for (const auto& [rank, why] : entry.failures)
    shared_->note_failed(which, entry.placement.since_step, rank, why);
  entries_.erase(found);
}

Debugger::Change Debugger::expire_due(int64_t step) {
  Change change;
  for (const auto& entry : entries_)
    if (entry->placement.until_step && *entry->placement.until_step <= step)
      change.off.push_back(entry->which);
  for (const Switch which : change.off) turn_off(which);
  if (!change.off.empty() && shared_->rank() == 0)
    log::info("debug: {} off after step {}", names_text(change.off), step);
  return change;
}

void Debugger::fail(Entry& entry, const std::string& why) {
  if (entry.tool) {
    entry.failed = std::move(entry.tool);
    --living_;
    if (in_step_)
      entry.failed->silence();
    else
      entry.failed.reset();
  }
  entry.failures[shared_->rank()] = why;
  tell_failure(entry.which, why);
}

/// The console is rank 0's: what others say comes to it with a digest, once.
void Debugger::tell_failure(Switch which, const std::string& why) const {
  const std::string text =
      fmt::format("debug switch {} failed on rank {} on {} and is off there: {}", name_of(which),
                  shared_->rank(), shared_->settings.host, why);
  if (shared_->rank() == 0) return log::warning("{}", text);
  log::info("{}", text);
  log::flush();
}

void Debugger::given_up(Switch which, int64_t since_step, const std::string& why) {
  Entry* const entry = find(which);
  if (entry != nullptr && entry->placement.since_step == since_step) {
    if (!why.empty()) fail(*entry, why);
    turn_off(which);
    return;
  }
  shared_->something_ended = true;
  if (why.empty()) return;
  tell_failure(which, why);
  SwitchDigest& ended = shared_->ended[which];
  ended.failed = why;
  ended.since_step = since_step;
  if (entry == nullptr) shared_->note_failed(which, since_step, shared_->rank(), why);
}

bool Debugger::reads_gradients() const {
  return living_ > 0 && std::ranges::any_of(entries_, [](const auto& entry) {
           return entry->tool && entry->tool->reads_gradients();
         });
}

void Debugger::tell_begin_step(int64_t step) {
  leave_step();  // where the last one was not brought to its end
  shared_->step = step;
  for (const auto& entry : entries_) {
    if (!entry->tool) continue;
    const int64_t since = step - entry->placement.since_step - 1;
    try {
      entry->tool->begin_step({.step = step, .looks = since % entry->placement.every_steps == 0});
    } catch (...) {
      fail(*entry, reason_in_flight());
    }
  }
  in_step_ = true;
}

void Debugger::tell_end_step() {
  tell_each([](Tool& tool) { tool.end_step(); });
  leave_step();
}

void Debugger::leave_step() {
  in_step_ = false;
  for (const auto& entry : entries_) entry->failed.reset();
}

void Debugger::tell_each(const std::function<void(Tool&)>& call) {
  for (const auto& entry : entries_) {
    if (!entry->tool) continue;
    try {
      call(*entry->tool);
    } catch (...) {
      fail(*entry, reason_in_flight());
    }
  }
}

}  // namespace trireme::debug
