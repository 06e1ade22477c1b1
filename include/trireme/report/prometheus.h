#pragma once

#include <trireme/report/lost_records.h>
#include <trireme/report/records.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::report {

/// What stands in a Prometheus text file.
struct PrometheusSample {
  std::string job;                 ///< of the scheduler; empty outside one
  std::string run;                 ///< tells this run from others, e.g. its run.dir
  std::vector<std::string> hosts;  ///< by rank
  int64_t total_steps = 0;         ///< 0 if not known
  StepMetrics metrics;
  Window window;
  std::optional<EvalMetrics> evaluation;
  double time = 0;  ///< seconds since 1970
};

/// The text exposition format, version 0.0.4. Every sample has the labels job and run; those of
/// stat="min" and stat="max" also rank, and host where it is known.
[[nodiscard]] std::string prometheus_text(const PrometheusSample& sample);

/// A file for the textfile collector of node_exporter, which reads the *.prom files of a folder.
/// Written by rank 0, at most once a second and at the end, replaced at once so that readers see
/// whole files. If that fails a warning says so once a minute; it never throws. One thread.
class PrometheusFile {
 public:
  struct Labels {
    std::string job, run;
  };
  PrometheusFile(std::filesystem::path path, Labels labels, std::vector<std::string> hosts,
                 int64_t total_steps,
                 std::chrono::milliseconds write_every = std::chrono::seconds(1));
  /// Writes what is left.
  ~PrometheusFile();
  PrometheusFile(const PrometheusFile&) = delete;
  PrometheusFile& operator=(const PrometheusFile&) = delete;

  void log(const StepMetrics& metrics, const Window& window);
  /// Shows with the next window, or at the end.
  void log(const EvalMetrics& metrics);
  /// Writes what is waiting.
  void flush();

 private:
  void replace(std::string_view text) const;

  std::filesystem::path path_;
  PrometheusSample sample_;
  std::chrono::milliseconds write_every_;
  bool waiting_ = false;
  std::optional<std::chrono::steady_clock::time_point> written_;
  LostRecords lost_;
};

}  // namespace trireme::report
