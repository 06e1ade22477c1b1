#pragma once

#include <trireme/debug/tool.h>
#include <trireme/storage/append_file.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::debug {

/// Lines that go to FILE until it is full, which then becomes FILE.1, and FILE.1 becomes FILE.2.
/// Opened by the first line. One thread at a time.
class RotatedFile {
 public:
  struct Limits {
    int64_t bytes = int64_t{16} << 20;  ///< of a file
    int files = 4;                      ///< FILE and the older ones
  };
  RotatedFile(std::filesystem::path path, Limits limits)
      : path_(std::move(path)), limits_(limits) {}

  /// Error of kind `storage`; the next line tries again.
  void append_line(const std::string& line);

 private:
  void rotate();
  std::filesystem::path path_;
  Limits limits_;
  std::optional<storage::AppendFile> file_;
  int64_t bytes_ = 0;
};

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
                RotatedFile::Limits limits = {});

  void record(nlohmann::json fields) override;
  void finding(const std::string& text) override;

  struct Findings {
    std::vector<std::string> texts;
    int64_t left_out = 0;
  };
  /// Since the last call.
  [[nodiscard]] Findings take_findings();

 private:
  [[nodiscard]] bool is_new(const std::string& text, int64_t step);
  void write(nlohmann::json fields);

  const Origin origin_;
  const std::filesystem::path folder_;
  std::mutex guard_;  // of all below
  RotatedFile file_;
  bool warned_ = false;
  std::map<std::string, int64_t> told_;  // text: the step
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
