#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/commands.h"
#include "report/top_reader.h"

#include <trireme/core/wall_clock.h>
#include <trireme/guard/run_lock.h>
#include <trireme/report/progress_line.h>
#include <trireme/report/top_screen.h>

namespace trireme::app {
namespace {

struct Arguments {
  std::vector<std::string> runs;
  bool once = false;
  bool json = false;
  double interval = 2;
};

report::TopHolder holder_of(const std::filesystem::path& lock_file) {
  const auto [there, owner, verdict] = guard::see_lock(lock_file);
  if (!there) return {};
  if (!owner) return {.locked = true, .live = true, .name = {}, .why = {}};  // just being written
  return {.locked = true,
          .live = verdict.live,
          .name = fmt::format("{}process {} on {}", owner->job.empty() ? "" : fmt::format("job {}, ", owner->job), owner->pid, owner->host),
          .why = verdict.why};
}

class Runs {
 public:
  explicit Runs(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) readers_.emplace_back(path);
  }
  std::vector<report::TopRun> read() {
    std::vector<report::TopRun> runs;
    const double now = wall_clock_seconds();
    for (report::TopReader& reader : readers_) runs.push_back(reader.read(holder_of(reader.paths().lock()), now));
    return runs;
  }

 private:
  std::deque<report::TopReader> readers_;
};

std::vector<std::string> lines_of(const std::vector<report::TopRun>& runs, const report::TopStyle& style) {
  std::vector<std::string> all;
  for (const report::TopRun& run : runs) {
    if (!all.empty() && !style.compact) all.emplace_back();
    for (std::string& line : report::top_screen(run, style)) all.push_back(std::move(line));
  }
  return all;
}

bool unicode_terminal() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string text = value;
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text.find("utf-8") != std::string::npos || text.find("utf8") != std::string::npos;
  }
  return false;
}

void write_all(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

/// What ends or disturbs the screen, taken in turn instead of at any moment: so that the terminal is left as it was found.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int one : {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH}) sigaddset(&set_, one);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~Signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// The first signal within the time, or -1.
  [[nodiscard]] int wait(double seconds) const {
    const timespec time{.tv_sec = static_cast<time_t>(seconds),
                        .tv_nsec = static_cast<long>((seconds - static_cast<double>(static_cast<time_t>(seconds))) * 1e9)};
    return sigtimedwait(&set_, nullptr, &time);
  }

 private:
  sigset_t set_{}, before_{};
};

/// The part of a terminal that is drawn again and again; the last picture stays.
class Picture {
 public:
  Picture() { write_all(hide_cursor); }
  ~Picture() { write_all(show_cursor); }
  Picture(const Picture&) = delete;
  Picture& operator=(const Picture&) = delete;

  void draw(const std::vector<std::string>& lines) {
    std::string text = lines_ > 0 ? fmt::format("\r\033[{}A", lines_) : "\r";
    for (const std::string& line : lines) text += line + "\033[K\n";
    write_all(text + "\033[J");
    lines_ = lines.size();
  }
  /// After the terminal has changed its size: where the last picture stands is not known any more.
  void clear() {
    write_all("\033[2J\033[H");
    lines_ = 0;
  }
  /// Gives the terminal back until the process goes on.
  void suspend() {
    write_all(show_cursor);
    ::raise(SIGSTOP);
    write_all(hide_cursor);
    lines_ = 0;
  }

 private:
  static constexpr std::string_view hide_cursor = "\033[?25l", show_cursor = "\033[?25h";
  size_t lines_ = 0;
};

void watch(Runs& runs, double interval) {
  const Signals signals;
  Picture picture;
  for (;;) {
    winsize size{};
    const size_t rows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row : 24;
    const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
    report::TopStyle style{.width = std::max(terminal.columns - 1, 1), .colour = terminal.colour, .unicode = unicode_terminal()};
    const std::vector<report::TopRun> read = runs.read();
    std::vector<std::string> lines = lines_of(read, style);
    style.compact = lines.size() >= rows;
    if (style.compact) lines = lines_of(read, style);
    if (lines.size() >= rows) lines.resize(rows - 1);
    picture.draw(lines);
    const int signal = signals.wait(interval);
    if (signal == SIGWINCH)
      picture.clear();
    else if (signal == SIGTSTP)
      picture.suspend();
    else if (signal > 0)
      return;
  }
}

int top(const Arguments& arguments) {
  Runs runs(arguments.runs);
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  if (arguments.json) {
    fmt::print("{}\n", report::top_json(runs.read()));
  } else if (arguments.once || !terminal.tty) {
    const report::TopStyle style{.width = terminal.tty ? std::max(terminal.columns - 1, 1) : 120,
                                 .colour = terminal.colour,
                                 .unicode = unicode_terminal()};
    for (const std::string& line : lines_of(runs.read(), style)) fmt::print("{}\n", line);
  } else {
    watch(runs, arguments.interval);
  }
  return 0;
}

}  // namespace

void add_top(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("top", "Shows how runs are doing, again and again, from the files in their folders");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("runs", arguments->runs, "run folders")->required();
  command->add_flag("--once", arguments->once, "show it once; so it does where its output is no terminal");
  command->add_option("--interval", arguments->interval, "seconds between two looks")->check(CLI::Range(0.1, 3600.0));
  command->add_flag("--json", arguments->json, "print one JSON object");
  command->footer(
      "\nExamples:\n"
      "  trireme top runs/gpt                    on any machine that sees the folder; Ctrl-C ends it, never the run\n"
      "  trireme top runs/* --json\n");
  command->callback([&action, arguments] { action = [arguments] { return top(*arguments); }; });
}

}  // namespace trireme::app
