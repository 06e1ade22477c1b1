#pragma once

#include <trireme/debug/debugger.h>

#include "debug/digest.h"
#include "debug/journal.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace trireme::debug {

struct Debugger::Entry {
  Switch which;
  Placement placement;
  bool here = false;
  std::map<int, std::string> failures = {};  // by rank; at rank 0 those of others, too
  bool failure_told = false;                 // in a digest
  std::unique_ptr<SwitchJournal> journal = {};
  // After the journal, which they use to their end.
  std::unique_ptr<Tool> tool = {};
  // A backward of the step in which it failed may still come to what it attends.
  std::unique_ptr<Tool> failed = {};
};

struct Debugger::Shared {
  Settings settings;
  MakeTool make;
  std::atomic<int64_t> step{0};  // journals read it from any thread
  struct Answer {
    std::string id;
    bool accepted = false;
    std::string text;
  };
  std::vector<Answer> answers;
  RankDigest ended;              // of what went off since the last digest
  bool something_ended = false;  // the same on all ranks, unlike `ended`
  struct Failed {
    int64_t since_step = 0;
    std::map<int, std::string> by_rank;  // why
  };
  std::map<Switch, Failed> failed;  // of what is off now, as far as this rank knows

  [[nodiscard]] int rank() const { return settings.subject.rank; }

  /// Adds what the entry's rank has to say since the last time.
  void collect(Entry& entry, SwitchDigest& into) const;
  /// That a switch, which is off, had failed when it was on since that step.
  void note_failed(Switch which, int64_t since_step, int rank, const std::string& why);
};

/// What the exception in flight says, on one line.
[[nodiscard]] std::string reason_in_flight();

}  // namespace trireme::debug
