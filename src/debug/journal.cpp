#include "debug/journal.h"

#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/storage/durable.h>

#include <chrono>
#include <cmath>
#include <exception>
#include <system_error>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace trireme::debug {
namespace {

namespace fs = std::filesystem;

constexpr int64_t repeat_after_steps = 100;
constexpr size_t findings_kept = 20;
constexpr size_t texts_remembered = 1000;

std::string utc_time() {
  using std::chrono::system_clock;
  const auto now = system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(system_clock::to_time_t(now)), ms);
}

fs::path numbered(const fs::path& path, int number) {
  return number == 0 ? path : fs::path(fmt::format("{}.{}", path.native(), number));
}

}  // namespace

void RotatedFile::append_line(const std::string& line) {
  const auto size = static_cast<int64_t>(line.size()) + 1;
  if (file_ && bytes_ > 0 && bytes_ + size > limits_.bytes) rotate();
  if (!file_) {
    storage::make_directories(path_.parent_path());
    file_.emplace(path_);
    std::error_code error;
    const auto there = fs::file_size(path_, error);
    bytes_ = error ? 0 : static_cast<int64_t>(there);
    if (bytes_ > 0 && bytes_ + size > limits_.bytes) {
      rotate();
      file_.emplace(path_);
    }
  }
  file_->append_line(line);
  bytes_ += size;
}

void RotatedFile::rotate() {
  file_.reset();
  bytes_ = 0;
  for (int number = limits_.files - 2; number >= 0; --number) {
    std::error_code error;
    fs::rename(numbered(path_, number), numbered(path_, number + 1), error);
    if (error && error != std::errc::no_such_file_or_directory)
      throw Error(ErrorKind::storage,
                  fmt::format("{}: cannot be renamed: {}", numbered(path_, number).string(),
                              error.message()),
                  "check permissions of run.dir");
  }
}

SwitchJournal::SwitchJournal(Origin origin, const fs::path& folder, RotatedFile::Limits limits)
    : origin_(origin),
      folder_(folder),
      file_(folder / journal_name(origin.which, origin.rank), limits) {}

void SwitchJournal::record(nlohmann::json fields) {
  const std::lock_guard lock(guard_);
  write(std::move(fields));
}

void SwitchJournal::write(nlohmann::json fields) try {
  if (!fields.is_object()) fields = {{"value", std::move(fields)}};
  fields["schema"] = 1;
  fields["attempt"] = origin_.attempt;
  fields["time"] = utc_time();
  fields["rank"] = origin_.rank;
  fields["switch"] = name_of(origin_.which);
  if (!fields.contains("step")) fields["step"] = origin_.step->load(std::memory_order_relaxed);
  file_.append_line(line_of(std::move(fields)));
  warned_ = false;
} catch (const std::exception& e) {
  // It is tried again with every record, but told once until one succeeds.
  if (!std::exchange(warned_, true))
    log::warning("records of debug switch {} on rank {} are lost: {}", name_of(origin_.which),
                 origin_.rank, e.what());
}

bool SwitchJournal::is_new(const std::string& text, int64_t step) {
  const auto [told, added] = told_.try_emplace(text, step);
  if (!added && step < told->second + repeat_after_steps) return false;
  told->second = step;
  if (told_.size() > texts_remembered)
    std::erase_if(told_, [&](const auto& one) { return one.second + repeat_after_steps <= step; });
  if (told_.size() > texts_remembered) told_ = {{text, step}};
  return true;
}

void SwitchJournal::finding(const std::string& text) {
  const int64_t step = origin_.step->load(std::memory_order_relaxed);
  const std::lock_guard lock(guard_);
  if (!is_new(text, step)) return;
  write({{"finding", text}});
  if (findings_.texts.size() >= findings_kept) {
    ++findings_.left_out;
    return;
  }
  findings_.texts.push_back(text);
  log::warning("step {}: {}: {}", step, name_of(origin_.which), text);
}

SwitchJournal::Findings SwitchJournal::take_findings() {
  const std::lock_guard lock(guard_);
  return std::exchange(findings_, {});
}

std::string journal_name(Switch which, int rank) {
  return fmt::format("{}.rank{:03}.jsonl", name_of(which), rank);
}

void name_nonfinite(nlohmann::json& json) {
  if (json.is_structured()) {
    for (nlohmann::json& inner : json) name_nonfinite(inner);
    return;
  }
  if (!json.is_number_float()) return;
  const double value = json.get<double>();
  if (std::isfinite(value)) return;
  json = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

std::string line_of(nlohmann::json json) {
  name_nonfinite(json);
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace trireme::debug
