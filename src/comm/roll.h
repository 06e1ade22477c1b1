#pragma once

#include <trireme/comm/side_channel.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace trireme::comm {

/// What one rank knows of the others: who lives, why the run ends, and who is ready to leave. No
/// communication, no time.
class Roll {
 public:
  /// `hosts`: one a rank.
  explicit Roll(std::vector<std::string> hosts);

  /// The first failure is the verdict; true for it.
  bool judge(const Failure& failure);
  /// The connection of a rank has closed. True if this made the verdict: it had not said goodbye
  /// and nothing was wrong before.
  bool lose(int rank);
  void hear_goodbye(int rank) { departed_.insert(rank); }
  void hear_ready(int rank, bool wrote);

  [[nodiscard]] const std::optional<Failure>& verdict() const { return verdict_; }
  [[nodiscard]] bool lives(int rank) const;
  [[nodiscard]] int first_survivor() const;
  [[nodiscard]] bool wrote() const { return wrote_; }
  /// exit.json stands, and every rank that lives has said that it could leave.
  [[nodiscard]] bool may_leave() const;

 private:
  std::vector<std::string> hosts_;
  std::set<int> lost_, departed_, ready_;
  std::optional<Failure> verdict_;
  bool wrote_ = false;
};

}  // namespace trireme::comm
