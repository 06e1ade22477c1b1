#include "run_records_metrics.h"

#include "run_records_points.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace trireme::report {
namespace {

bool looks_whole(std::string_view line) {
  return !line.empty() && line.front() == '{' && line.back() == '}';
}

std::vector<size_t> evenly(size_t count, size_t most) {
  std::vector<size_t> lines(std::min(count, most));
  for (size_t i = 0; i < lines.size(); ++i) lines[i] = count * i / lines.size();
  return lines;
}

}  // namespace

double number_after(std::string_view line, std::string_view key) {
  double value = std::numeric_limits<double>::quiet_NaN();
  const std::string name = '"' + std::string(key) + "\":";
  size_t at = line.find(name);
  if (at == std::string_view::npos) return value;
  at = line.find_first_not_of(' ', at + name.size());
  if (at == std::string_view::npos) return value;
  std::from_chars(line.data() + at, line.data() + line.size(), value);
  return value;
}

Metrics read_metrics(RunFiles& files, size_t most) {
  constexpr std::array<std::string_view, 3> keys{"loss", "step_seconds", "grad_norm"};
  constexpr const char* name = "metrics.jsonl";
  std::array<std::vector<double>, keys.size()> curves;
  files.raw_lines(name, [&](std::string_view line) {
    if (!looks_whole(line)) return false;
    for (size_t i = 0; i < keys.size(); ++i) curves[i].push_back(number_after(line, keys[i]));
    return true;
  });

  const std::array<std::span<const double>, keys.size()> shown{curves[0], curves[1], curves[2]};
  const std::vector<size_t> drawn = points_to_draw(shown, most);
  const std::vector<size_t> even = evenly(curves[0].size(), most);
  Metrics metrics;
  metrics.lines = static_cast<int64_t>(curves[0].size());
  auto next_drawn = drawn.begin(), next_even = even.begin();
  size_t number = 0;
  files.raw_lines(name, [&](std::string_view line) {
    if (!looks_whole(line)) return true;  // told of above
    bool whole = true;
    if (next_drawn != drawn.end() && *next_drawn == number)
      whole = metrics.drawn.add(line), ++next_drawn;
    if (next_even != even.end() && *next_even == number)
      whole = metrics.even.add(line) && whole, ++next_even;
    ++number;
    return whole;
  });
  return metrics;
}

}  // namespace trireme::report
