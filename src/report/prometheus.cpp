#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/core/wall_clock.h>
#include <trireme/report/prometheus.h>

#include "storage/system_calls.h"
#include "storage/write_error.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace trireme::report {

PrometheusFile::PrometheusFile(std::filesystem::path path, Labels labels,
                               std::vector<std::string> hosts, int64_t total_steps,
                               std::chrono::milliseconds write_every)
    : path_(std::move(path)), write_every_(write_every) {
  sample_.job = std::move(labels.job);
  sample_.run = std::move(labels.run);
  sample_.hosts = std::move(hosts);
  sample_.total_steps = total_steps;
}

PrometheusFile::~PrometheusFile() {
  flush();
}

void PrometheusFile::log(const StepMetrics& metrics, const Window& window) {
  sample_.metrics = metrics;
  sample_.window = window;
  sample_.time = wall_clock_seconds();
  waiting_ = true;
  if (!written_ || std::chrono::steady_clock::now() - *written_ >= write_every_) flush();
}

void PrometheusFile::log(const EvalMetrics& metrics) {
  sample_.evaluation = metrics;
  waiting_ = sample_.time > 0;
}

void PrometheusFile::flush() {
  if (!waiting_) return;
  waiting_ = false;
  written_ = std::chrono::steady_clock::now();
  try {
    replace(prometheus_text(sample_));
  } catch (const Error& error) {
    if (lost_.add(LostRecords::Clock::now()))
      log::warning("the file for Prometheus cannot be written, the run goes on: {}",
                   error.message());
  }
}

/// Not made durable: after a power failure its numbers are old anyway, and it is written often.
void PrometheusFile::replace(std::string_view text) const {
  std::array<char, 256> host{};
  (void)::gethostname(host.data(), host.size() - 1);
  const std::filesystem::path fresh =
      fmt::format("{}.tmp-{}-{}", path_.native(), host.data(), ::getpid());
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) storage::throw_write_error(fresh, "cannot be made", errno);
  int error = storage::write_all(fd, text.data(), text.size()).error;
  const int close_error = storage::close_file(fd);
  if (error == 0) error = close_error;
  if (error == 0 && ::rename(fresh.c_str(), path_.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(fresh.c_str());
  storage::throw_write_error(path_, "cannot be replaced", error);
}

}  // namespace trireme::report
