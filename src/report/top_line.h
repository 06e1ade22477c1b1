#pragma once

#include <trireme/report/top_screen.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::report {

enum class Ink : uint8_t { plain, strong, faint, red, green, yellow, blue, magenta, cyan };

/// A line of a screen as it is put together, piece by piece.
class TopLine {
 public:
  explicit TopLine(const TopStyle& style) : style_(style) {}
  /// As much of the text as has room.
  TopLine& add(std::string_view text, Ink ink = Ink::plain);
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] int room() const { return style_.width - columns_; }

 private:
  const TopStyle& style_;
  std::string text_;
  int columns_ = 0;
};

/// Values as a row of small bars, one a value, between the least and the most of them; '!' for
/// those that are not finite.
[[nodiscard]] std::string sparkline(std::span<const double> values, bool unicode);

/// How many of `cells` each part gets, in proportion; all of them together, if any part is above 0.
[[nodiscard]] std::vector<int> share_cells(std::span<const double> parts, int cells);

/// 350 us, 12.3 ms, 1.25 s
[[nodiscard]] std::string short_seconds(double seconds);
/// 512 B, 1.50 GiB
[[nodiscard]] std::string short_bytes(double bytes);

}  // namespace trireme::report
