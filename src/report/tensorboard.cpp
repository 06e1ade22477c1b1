#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/core/wall_clock.h>
#include <trireme/report/tensorboard.h>

#include "report/tensorboard_events.h"
#include "report/tensorboard_file.h"

#include <utility>

namespace trireme::report {
namespace {

constexpr size_t most_waiting_bytes = 1 << 20;

std::string first_records(std::optional<int64_t> resumed_step) {
  std::string records;
  append_record(records, version_event(wall_clock_seconds()));
  append_record(records, start_event(wall_clock_seconds(), resumed_step ? *resumed_step + 1 : 0));
  return records;
}

}  // namespace

TensorBoard::TensorBoard(std::filesystem::path folder, std::optional<int64_t> resumed_step,
                         std::chrono::milliseconds write_every)
    : file_(std::make_unique<File>(std::move(folder), first_records(resumed_step))),
      write_every_(write_every) {}

TensorBoard::~TensorBoard() {
  flush();
  if (lost_.count() > 1)
    log::warning("{} records for TensorBoard could not be written", lost_.count());
}

void TensorBoard::scalars(std::span<const TaggedValue> values, int64_t step) {
  if (!values.empty()) add(scalars_event(wall_clock_seconds(), step, values));
}

void TensorBoard::text(std::string_view tag, std::string_view markdown, int64_t step) {
  add(text_event(wall_clock_seconds(), step, tag, markdown));
}

void TensorBoard::histogram(std::string_view tag, const Histogram& values, int64_t step) {
  add(histogram_event(wall_clock_seconds(), step, tag, values));
}

void TensorBoard::add(const std::string& event) {
  append_record(waiting_, event);
  ++waiting_records_;
  const bool due = !written_ || std::chrono::steady_clock::now() - *written_ >= write_every_;
  if (due || waiting_.size() >= most_waiting_bytes) flush();
}

void TensorBoard::flush() {
  if (waiting_.empty()) return;
  const std::string records = std::exchange(waiting_, {});
  const int64_t count = std::exchange(waiting_records_, 0);
  written_ = std::chrono::steady_clock::now();
  try {
    file_->append(records);
  } catch (const Error& error) {
    bool tell = false;
    for (int64_t i = 0; i < count; ++i) tell = lost_.add(LostRecords::Clock::now()) || tell;
    if (tell)
      log::warning("records for TensorBoard are lost ({} so far), the run goes on: {}",
                   lost_.count(), error.message());
  }
}

}  // namespace trireme::report
