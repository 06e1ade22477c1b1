#pragma once

#include "json.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace trireme::report {

/// The numbers of metrics.jsonl by name, one value a line; NaN where a line has none.
class Columns {
 public:
  /// Numbers of a line, and the mean, max and max_rank of its spreads. False if it is no whole
  /// JSON object; nothing of it counts then.
  bool add(std::string_view line);
  [[nodiscard]] size_t lines() const { return lines_; }
  /// Empty if no line has it.
  [[nodiscard]] const std::vector<double>& column(const std::string& name) const;
  /// Names by their first appearance.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  /// The host of the largest value that a spread, such as memory/peak, ever had.
  [[nodiscard]] std::string host_of_most(const std::string& spread) const;
  /// {name: [values]} of what the page draws.
  [[nodiscard]] Json json() const;

 private:
  class Line;
  struct Column {
    std::vector<double> values;
    double most = 0;  // of a spread: the largest so far, and where
    std::string host;
  };
  size_t lines_ = 0;
  std::vector<std::string> names_;
  std::unordered_map<std::string, Column> columns_;
};

/// With so many significant digits that no eye sees the difference.
[[nodiscard]] double rounded(double value, int digits = 6);
/// The same of all that is in `json` and not an integer.
void round_numbers(Json& json, int digits);

}  // namespace trireme::report
