#include "data/csv_row.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace trireme::data {

bool split_csv_row(std::string_view line, char delimiter, std::vector<std::string>& cells) {
  cells.clear();
  size_t at = 0;
  for (;;) {
    std::string cell;
    if (at < line.size() && line[at] == '"') {
      for (++at;; ++at) {
        if (at >= line.size()) return false;
        if (line[at] != '"') {
          cell += line[at];
        } else if (at + 1 < line.size() && line[at + 1] == '"') {
          cell += line[at++];
        } else {
          break;
        }
      }
      if (++at < line.size() && line[at] != delimiter) return false;
    } else {
      const size_t end = std::min(line.find(delimiter, at), line.size());
      cell = line.substr(at, end - at);
      at = end;
    }
    cells.push_back(std::move(cell));
    if (at >= line.size()) return true;
    ++at;  // the delimiter; at the end of the line an empty cell follows
  }
}

bool parse_number(std::string_view cell, double& value) {
  constexpr std::string_view blanks = " \t";
  const size_t first = cell.find_first_not_of(blanks);
  if (first == std::string_view::npos) return false;
  cell = cell.substr(first, cell.find_last_not_of(blanks) - first + 1);
  if (cell.size() > 1 && cell[0] == '+' && cell[1] != '-') cell.remove_prefix(1);
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return error == std::errc() && end == cell.data() + cell.size() && std::isfinite(value);
}

}  // namespace trireme::data
