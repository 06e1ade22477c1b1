#pragma once

#include <string>
#include <string_view>

#include <fmt/core.h>

namespace trireme::core::log {

enum class Level { debug, info, warning, error };

/// Where this process's records go. Rank 0 writes to stderr; `file`, if not empty, receives every record of this rank.
struct Settings {
  int rank = 0;
  bool console = true;
  std::string file;
  Level level = Level::info;
};
void configure(const Settings& settings);
void flush();

void write(Level level, std::string_view text);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace trireme::core::log

namespace trireme {
namespace log = core::log;
}
