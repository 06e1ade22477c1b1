#include "debug/journal.h"

#include <trireme/core/log.h>
#include <trireme/core/wall_clock.h>

#include <cmath>
#include <exception>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {
namespace {

namespace fs = std::filesystem;

constexpr size_t findings_kept = 20;

}  // namespace

SwitchJournal::SwitchJournal(Origin origin, const fs::path& folder,
                             storage::RotatedFile::Limits limits)
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

void SwitchJournal::finding(const std::string& text) {
  const int64_t step = origin_.step->load(std::memory_order_relaxed);
  const std::lock_guard lock(guard_);
  if (!told_.due(text, step)) return;
  write({{"finding", text}});
  if (findings_.texts.size() >= findings_kept) {
    ++findings_.left_out;
    return;
  }
  findings_.texts.push_back(text);
  // Rank 0 tells all ranks' findings on the console; those of others stand in their logs at once.
  if (origin_.rank == 0) return;
  log::info("step {}: {}: {}", step, name_of(origin_.which), text);
  log::flush();
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
