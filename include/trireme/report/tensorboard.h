#pragma once

#include <trireme/report/lost_records.h>
#include <trireme/report/records.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::report {

/// A tag and its value; TensorBoard groups tags by what stands before the slash.
using TaggedValue = std::pair<std::string, double>;

/// How values are spread, in buckets that grow by 10 % from 1e-12 on, as TensorBoard expects them.
/// Values that are not finite are only counted.
class Histogram {
 public:
  Histogram();
  void add(double value);

  struct Buckets {
    std::vector<double> limits;  ///< upper ends, growing; a run of empty buckets is one
    std::vector<double> counts;
  };
  [[nodiscard]] Buckets buckets() const;
  [[nodiscard]] double min() const { return min_; }  ///< 0 without values, like the following
  [[nodiscard]] double max() const { return max_; }
  [[nodiscard]] int64_t count() const { return count_; }
  [[nodiscard]] double sum() const { return sum_; }
  [[nodiscard]] double sum_of_squares() const { return sum_of_squares_; }
  [[nodiscard]] int64_t not_finite() const { return not_finite_; }

 private:
  std::vector<int64_t> counts_;
  double min_ = 0, max_ = 0, sum_ = 0, sum_of_squares_ = 0;
  int64_t count_ = 0, not_finite_ = 0;
};

/// Event files for TensorBoard, one an attempt, written by rank 0. What is logged is appended in
/// whole records, every few seconds and at the end. It never throws for files that cannot be
/// written: those records are lost, with a warning once a minute, and the next ones are tried
/// again. One thread.
class TensorBoard {
 public:
  /// `resumed_step`: what earlier attempts logged after this step is undone, and TensorBoard is
  /// told to forget it; nothing: all of it. The folder and the file are made at the first write.
  explicit TensorBoard(std::filesystem::path folder, std::optional<int64_t> resumed_step = {},
                       std::chrono::milliseconds write_every = std::chrono::seconds(5));
  /// Writes what is left.
  ~TensorBoard();
  TensorBoard(const TensorBoard&) = delete;
  TensorBoard& operator=(const TensorBoard&) = delete;

  void scalars(std::span<const TaggedValue> values, int64_t step);
  void text(std::string_view tag, std::string_view markdown, int64_t step);
  void histogram(std::string_view tag, const Histogram& values, int64_t step);
  /// Writes what is waiting.
  void flush();

  [[nodiscard]] int64_t lost_records() const { return lost_.count(); }

 private:
  class File;
  void add(const std::string& event);

  std::unique_ptr<File> file_;
  std::chrono::milliseconds write_every_;
  std::string waiting_;
  int64_t waiting_records_ = 0;
  std::optional<std::chrono::steady_clock::time_point> written_;
  LostRecords lost_;
};

/// train/..., throughput/..., phases/..., communication/... and memory/..., and `more` as it is; of
/// several ranks also histograms over the ranks, .../*_over_ranks.
void log(TensorBoard& board, const StepMetrics& metrics, const Window& window,
         std::span<const TaggedValue> more = {});
/// eval/loss and eval/<metric>.
void log(TensorBoard& board, const EvalMetrics& metrics);
void log_text(TensorBoard& board, std::string_view tag, std::string_view markdown, int64_t step);
void log_histogram(TensorBoard& board, std::string_view tag, std::span<const float> values,
                   int64_t step);
void log_histogram(TensorBoard& board, std::string_view tag, std::span<const double> values,
                   int64_t step);

}  // namespace trireme::report
