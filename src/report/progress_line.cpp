#include <trireme/report/progress_line.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace trireme::report {
namespace {

constexpr double shown_excess = 0.05;
constexpr std::string_view clear_line = "\r\033[K";

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written <= 0) return;  // a closed terminal is no reason to end a run
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

Terminal terminal_of(int fd) {
  Terminal terminal;
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  const char* no_color = std::getenv("NO_COLOR");
  terminal.tty = isatty(fd) == 1 && !dumb;
  terminal.colour = terminal.tty && (no_color == nullptr || *no_color == '\0');
  winsize size{};
  if (terminal.tty && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    terminal.columns = size.ws_col;
  return terminal;
}

std::string short_number(double value) {
  constexpr std::array<std::string_view, 5> suffixes{"", "k", "M", "G", "T"};
  size_t i = 0;
  // 999.5 would print as 1000 with three digits.
  while (value >= 999.5 && i + 1 < suffixes.size()) {
    value /= 1000;
    ++i;
  }
  if (i == 0) return value < 10 ? fmt::format("{:.2f}", value) : fmt::format("{:.0f}", value);
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, digits, suffixes[i]);
}

std::string short_time(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto total = std::llround(std::clamp(seconds, 0.0, 1e12));
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

std::string progress_text(const Progress& progress, bool colour) {
  std::string text = progress.total > 0 ? fmt::format("step {}/{}", progress.step, progress.total)
                                        : fmt::format("step {}", progress.step);
  text += fmt::format("  loss {:.4f}  lr {:.2e}  {} {}/s", progress.loss, progress.lr,
                      short_number(progress.per_second), progress.unit);
  if (progress.seconds_left) text += fmt::format("  eta {}", short_time(*progress.seconds_left));
  if (progress.slowest_rank >= 0 && progress.slowest_excess > shown_excess) {
    const std::string slow = fmt::format("slowest rank {} (+{:.0f} %)", progress.slowest_rank,
                                         100 * progress.slowest_excess);
    text += colour ? fmt::format("  \033[33m{}\033[0m", slow) : "  " + slow;
  }
  return text;
}

std::string render(const Progress& progress, const Terminal& terminal) {
  std::string plain = progress_text(progress, false);
  if (!terminal.tty) return plain + "\n";
  // The last column stays free: writing into it wraps on some terminals.
  const size_t room = static_cast<size_t>(std::max(terminal.columns, 2)) - 1;
  if (plain.size() > room)
    plain.resize(room);
  else if (terminal.colour)
    plain = progress_text(progress, true);
  return fmt::format("{}{}", clear_line, plain);
}

ProgressLine::ProgressLine(int fd) : fd_(fd), terminal_(terminal_of(fd)) {}

void ProgressLine::show(const Progress& progress) {
  write_all(fd_, render(progress, terminal_));
  shown_ = true;
}

void ProgressLine::clear() {
  if (shown_ && terminal_.tty) write_all(fd_, clear_line);
  shown_ = false;
}

}  // namespace trireme::report
