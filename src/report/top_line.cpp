#include "report/top_line.h"

#include <trireme/report/plain_text.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include <fmt/format.h>

namespace trireme::report {
namespace {

constexpr std::array<std::string_view, 9> ink_codes{"",   "1",  "2",  "31", "32",
                                                    "33", "34", "35", "36"};

}  // namespace

TopLine& TopLine::add(std::string_view text, Ink ink) {
  std::string shown;
  while (!text.empty()) {
    const TextCharacter character = first_character(text);
    const bool plain = character.plain && (style_.unicode || character.bytes == 1);
    const int columns = plain ? character.columns : 1;
    if (columns > room()) break;
    shown += plain ? text.substr(0, character.bytes) : "?";
    columns_ += columns;
    text.remove_prefix(character.bytes);
  }
  const std::string_view code = ink_codes[static_cast<size_t>(ink)];
  if (style_.colour && !code.empty() && !shown.empty())
    text_ += fmt::format("\033[{}m{}\033[0m", code, shown);
  else
    text_ += shown;
  return *this;
}

std::string sparkline(std::span<const double> values, bool unicode) {
  constexpr std::array<std::string_view, 8> blocks{"\u2581", "\u2582", "\u2583", "\u2584",
                                                   "\u2585", "\u2586", "\u2587", "\u2588"};
  constexpr std::array<std::string_view, 8> ascii{"_", ".", ",", "-", "~", "=", "*", "#"};
  const auto& levels = unicode ? blocks : ascii;
  double least = INFINITY, most = -INFINITY;
  for (const double value : values)
    if (std::isfinite(value)) least = std::min(least, value), most = std::max(most, value);
  std::string text;
  for (const double value : values) {
    // Halves: the difference of two finite numbers may be none.
    const double height = most > least ? (value / 2 - least / 2) / (most / 2 - least / 2) : 0.5;
    text += std::isfinite(value) ? levels[static_cast<size_t>(std::lround(height * 7))] : "!";
  }
  return text;
}

std::vector<int> share_cells(std::span<const double> parts, int cells) {
  std::vector<int> shares(parts.size());
  const auto weight = [&](size_t i) {
    return std::isfinite(parts[i]) ? std::max(parts[i], 0.0) : 0;
  };
  double sum = 0;
  for (size_t i = 0; i < parts.size(); ++i) sum += weight(i);
  if (!(sum > 0) || !std::isfinite(sum)) return shares;
  std::vector<double> rest(parts.size());
  int left = cells;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double exact = weight(i) / sum * cells;
    shares[i] = static_cast<int>(exact);
    rest[i] = exact - shares[i];
    left -= shares[i];
  }
  for (; left > 0; --left) {
    const auto most = std::max_element(rest.begin(), rest.end());
    ++shares[static_cast<size_t>(most - rest.begin())];
    *most = -1;
  }
  return shares;
}

std::string short_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 0.9995e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 0.9995) return fmt::format("{:.3g} ms", seconds * 1e3);
  return seconds < 9995 ? fmt::format("{:.3g} s", seconds) : fmt::format("{:.0f} s", seconds);
}

std::string short_bytes(double bytes) {
  if (!std::isfinite(bytes)) return "?";
  constexpr std::array<std::string_view, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1023.5 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  const int digits = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", bytes, digits, units[unit]);
}

}  // namespace trireme::report
