#pragma once

#include <trireme/debug/tool.h>
#include <trireme/storage/rotated_file.h>

#include "debug/seldom.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::debug {

/// What a switch's tool on this rank tells: a file of records, and findings, of which each text
/// counts once in 100 steps and 20 in a window between two digests are kept. Never throws at a
/// tool.
class SwitchJournal : public Journal {
 public:
  struct Origin {
    Switch which;
    int rank = 0;
    int64_t attempt = 0;
    const std::atomic<int64_t>* step = nullptr;  ///< that is being made
  };
  SwitchJournal(Origin origin, const std::filesystem::path& folder,
                storage::RotatedFile::Limits limits = {});

  void record(nlohmann::json fields) override;
  void finding(const std::string& text) override;

  struct Findings {
    std::vector<std::string> texts;
    int64_t left_out = 0;
  };
  /// Since the last call.
  [[nodiscard]] Findings take_findings();

 private:
  void write(nlohmann::json fields);

  const Origin origin_;
  const std::filesystem::path folder_;
  std::mutex guard_;  // of all below
  storage::RotatedFile file_;
  bool warned_ = false;
  Seldom told_;
  Findings findings_;
};

/// logs/debug/<switch>.rank003.jsonl
[[nodiscard]] std::string journal_name(Switch which, int rank);

/// JSON has no NaN and infinities, and they are what one looks for: they become "nan", "inf",
/// "-inf".
void name_nonfinite(nlohmann::json& json);

/// One line; bytes that are no UTF-8 are replaced.
[[nodiscard]] std::string line_of(nlohmann::json json);

}  // namespace trireme::debug
