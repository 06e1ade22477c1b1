#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace trireme::report {

/// Reads a trace of write_trace() line by line, packed or not. Errors: input_missing; data_damaged,
/// naming the line, for what is no such trace or ends before its end.
class TraceReader {
 public:
  explicit TraceReader(std::filesystem::path path);
  ~TraceReader();
  TraceReader(const TraceReader&) = delete;
  TraceReader& operator=(const TraceReader&) = delete;

  /// All keys of the file but "traceEvents".
  [[nodiscard]] const nlohmann::json& heading() const { return *heading_; }

  struct Event {
    int64_t rank = 0;
    char phase = 0;             ///< 'X', 'M', ...
    std::string_view category;  ///< empty where the phase has none; within `line`
    std::string_view line;      ///< the event alone; until the next call
  };
  /// False after the last event, once the file has turned out to be whole.
  [[nodiscard]] bool next(Event& event);

  [[noreturn]] void damaged(std::string_view what) const;

 private:
  struct File;
  void read_heading();
  /// Without its newline; false at the file's end.
  bool next_line(std::string_view& line);
  bool fill();

  const std::filesystem::path path_;
  std::unique_ptr<File> file_;
  std::unique_ptr<nlohmann::json> heading_;
  std::string buffer_;
  size_t at_ = 0;
  bool at_end_ = false;
  int64_t line_number_ = 0;
};

}  // namespace trireme::report
