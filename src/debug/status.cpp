#include <trireme/core/error.h>
#include <trireme/core/log.h>

#include "debug/debugger_state.h"

#include <exception>
#include <utility>

#include <c10/util/Exception.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::debug {
namespace {

constexpr size_t answers_kept = 32;
constexpr size_t longest_reason = 300;

}  // namespace

std::string reason_in_flight() {
  std::string text;
  try {
    throw;
  } catch (const Error& e) {
    text = e.message();
  } catch (const c10::Error& e) {
    text = e.what_without_backtrace();
  } catch (const std::exception& e) {
    text = e.what();
  } catch (...) {
    text = "an exception of unknown type";
  }
  if (const size_t end = text.find('\n'); end != std::string::npos) text.resize(end);
  if (text.size() > longest_reason) text.resize(longest_reason);
  return text;
}

void Debugger::answer(const Request& request, bool accepted, const std::string& text) {
  if (shared_->rank() == 0) {
    const std::string origin = request.origin.empty() ? "" : fmt::format(" ({})", request.origin);
    if (accepted)
      log::info("debug: {}{}", text, origin);
    else
      log::warning("debug request refused{}: {}", origin, text);
  }
  if (request.id.empty()) return;
  auto& answers = shared_->answers;
  if (answers.size() >= answers_kept) answers.erase(answers.begin());
  answers.push_back({.id = request.id, .accepted = accepted, .text = text});
}

void Debugger::Shared::collect(Entry& entry, SwitchDigest& into) const {
  if (entry.journal) {
    SwitchJournal::Findings findings = entry.journal->take_findings();
    into.findings_left_out += findings.left_out;
    for (std::string& text : findings.texts) into.findings.push_back(std::move(text));
  }
  const auto failure = entry.failures.find(rank());
  if (failure == entry.failures.end() || std::exchange(entry.failure_told, true)) return;
  into.failed = failure->second;
  into.since_step = entry.placement.since_step;
}

void Debugger::Shared::note_failed(Switch which, int64_t since_step, int rank,
                                   const std::string& why) {
  Failed& known = failed[which];
  if (known.since_step > since_step) return;  // an older one
  if (known.since_step < since_step) known = {.since_step = since_step, .by_rank = {}};
  known.by_rank[rank] = why;
}

bool Debugger::has_digest() const {
  return active() || shared_->something_ended;
}

std::string Debugger::digest() {
  RankDigest digest = std::exchange(shared_->ended, {});
  shared_->something_ended = false;
  for (const auto& entry : entries_) {
    SwitchDigest& into = digest[entry->which];
    if (entry->tool) {
      try {
        nlohmann::json found = entry->tool->digest();
        if (!found.empty()) into.digest = std::move(found);
      } catch (...) {
        fail(*entry, reason_in_flight());
      }
    }
    shared_->collect(*entry, into);
  }
  return to_text(digest);
}

void Debugger::heard(std::span<const std::string> by_rank) {
  for (size_t rank = 0; rank < by_rank.size(); ++rank)
    for (const auto& [which, one] : read_digest(by_rank[rank])) {
      if (!one.failed) continue;
      Entry* const entry = find(which);
      if (entry == nullptr)
        shared_->note_failed(which, one.since_step, static_cast<int>(rank), *one.failed);
      else if (entry->placement.since_step == one.since_step)
        entry->failures[static_cast<int>(rank)] = *one.failed;
    }
}

/// What a digest would say, but for what tools keep to themselves.
void Debugger::tell_untold() {
  RankDigest untold = std::exchange(shared_->ended, {});
  for (const auto& entry : entries_) {
    entry->tool.reset();  // its end may find something
    shared_->collect(*entry, untold[entry->which]);
  }
  for (const auto& [which, one] : untold) {
    const auto tell = [&, &name = which](const std::string& text) {
      log::warning("{}: rank {} on {}: {}", name_of(name), shared_->rank(), shared_->settings.host,
                   text);
    };
    for (const std::string& text : one.findings) tell(text);
    if (one.findings_left_out > 0)
      tell(fmt::format("{} more findings: see logs/debug", one.findings_left_out));
    if (one.failed && shared_->rank() != 0) tell("failed and is off there: " + *one.failed);
  }
}

std::string Debugger::status_json(int64_t step) const {
  using Json = nlohmann::ordered_json;
  Json json{{"step", step},
            {"switches", Json::object()},
            {"failed", Json::object()},
            {"answers", Json::object()}};
  const auto failed_ranks = [](const std::map<int, std::string>& failures) {
    Json ranks = Json::object();
    for (const auto& [rank, why] : failures) ranks[std::to_string(rank)] = why;
    return ranks;
  };
  for (const auto& entry : entries_) {
    const Placement& placement = entry->placement;
    Json& item = json["switches"][std::string(name_of(entry->which))];
    item["ranks"] = placement.ranks.empty() ? Json("all") : Json(placement.ranks);
    item["since_step"] = placement.since_step;
    item["until_step"] = placement.until_step ? Json(*placement.until_step) : Json();
    item["every_steps"] = placement.every_steps;
    item["origin"] = placement.origin;
    item["failed_ranks"] = failed_ranks(entry->failures);
  }
  for (const auto& [which, one] : shared_->failed)
    json["failed"][std::string(name_of(which))] = {{"since_step", one.since_step},
                                                   {"failed_ranks", failed_ranks(one.by_rank)}};
  for (const Shared::Answer& answer : shared_->answers)
    json["answers"][answer.id] = {{"accepted", answer.accepted}, {"text", answer.text}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace trireme::debug
