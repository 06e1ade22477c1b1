#pragma once

#include <filesystem>

namespace trireme::report {

/// The names inside a run folder that scripts and users rely on.
struct RunPaths {
  std::filesystem::path root;

  [[nodiscard]] std::filesystem::path config() const { return root / "config.yaml"; }
  [[nodiscard]] std::filesystem::path lock() const { return root / "run.lock"; }
  [[nodiscard]] std::filesystem::path metrics() const { return root / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path eval() const { return root / "eval.jsonl"; }
  [[nodiscard]] std::filesystem::path events() const { return root / "events.jsonl"; }
  [[nodiscard]] std::filesystem::path exit() const { return root / "exit.json"; }
  [[nodiscard]] std::filesystem::path report() const { return root / "report.json"; }
  [[nodiscard]] std::filesystem::path goodput() const { return root / "goodput.json"; }
  [[nodiscard]] std::filesystem::path operators() const { return root / "operators.json"; }
  [[nodiscard]] std::filesystem::path debug() const { return root / "debug.jsonl"; }
  [[nodiscard]] std::filesystem::path control() const { return root / "control"; }
  [[nodiscard]] std::filesystem::path checkpoints() const { return root / "checkpoints"; }
  [[nodiscard]] std::filesystem::path logs() const { return root / "logs"; }
  /// logs/rank003.log
  [[nodiscard]] std::filesystem::path log(int rank) const;
  /// logs/rank003.jsonl
  [[nodiscard]] std::filesystem::path rank_records(int rank) const;
};

}  // namespace trireme::report
