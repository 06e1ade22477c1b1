#include <trireme/core/log.h>

#include <memory>
#include <mutex>
#include <vector>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace trireme::core::log {
namespace {

spdlog::level::level_enum level_of(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warning: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger> make(const Settings& settings) {
  std::vector<spdlog::sink_ptr> sinks;
  if (settings.console) {
    auto console = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    console->set_pattern(settings.rank == 0 ? "%H:%M:%S %^%l%$ %v" : fmt::format("%H:%M:%S %^%l%$ [rank {}] %v", settings.rank));
    // Other ranks speak on the console only when something is wrong; their files hold everything.
    if (settings.rank != 0) console->set_level(spdlog::level::warn);
    sinks.push_back(std::move(console));
  }
  if (!settings.file.empty()) {
    auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(settings.file, /*truncate=*/false);
    file->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    sinks.push_back(std::move(file));
  }
  auto logger = std::make_shared<spdlog::logger>("trireme", sinks.begin(), sinks.end());
  logger->set_level(level_of(settings.level));
  logger->flush_on(spdlog::level::warn);
  return logger;
}

std::mutex guard;
std::shared_ptr<spdlog::logger>& current() {
  static std::shared_ptr<spdlog::logger> logger = make(Settings{});
  return logger;
}

}  // namespace

void configure(const Settings& settings) {
  auto logger = make(settings);
  const std::lock_guard lock(guard);
  current() = std::move(logger);
}

void flush() {
  const std::lock_guard lock(guard);
  current()->flush();
}

void write(Level level, std::string_view text) {
  const std::lock_guard lock(guard);
  current()->log(level_of(level), "{}", text);
}

}  // namespace trireme::core::log
