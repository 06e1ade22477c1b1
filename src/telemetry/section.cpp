#include <trireme/device/device_memory.h>
#include <trireme/telemetry/memory.h>
#include <trireme/telemetry/recorder.h>
#include <trireme/telemetry/section.h>

#include <algorithm>

namespace trireme::telemetry {

SectionTotals Section::totals() const {
  return {.name = name_,
          .category = category_,
          .calls = calls_,
          .seconds = static_cast<double>(ns_) * 1e-9,
          .memory_calls = memory_calls_,
          .memory_delta = memory_delta_,
          .memory_peak = memory_peak_};
}

Section& Sections::open(Recorder& recorder, std::string_view name, Category category) {
  const std::lock_guard lock(guard_);
  const auto found = std::ranges::find_if(sections_, [&](const Section& one) {
    return one.name() == name && one.category() == category;
  });
  return found != sections_.end() ? *found : sections_.emplace_back(recorder, name, category);
}

std::vector<SectionTotals> Sections::totals() const {
  const std::lock_guard lock(guard_);
  std::vector<SectionTotals> all;
  for (const Section& one : sections_)
    if (SectionTotals totals = one.totals(); totals.calls > 0) all.push_back(std::move(totals));
  return all;
}

Section* section_of(Recorder* recorder, std::string_view name, Category category) {
  return recorder == nullptr ? nullptr : &recorder->section(name, category);
}

SectionScope::SectionScope(Section* section, Memory memory)
    : section_(section != nullptr && section->recorder_.enabled() ? section : nullptr),
      tracked_(memory == Memory::tracked) {
  if (section_ == nullptr) return;
  Recorder& recorder = section_->recorder_;
  if (tracked_ && recorder.device())
    allocated_ = device::device_memory(*recorder.device()).allocated;
  else if (tracked_)
    memory_ = std::make_unique<MemoryScope>();
  if (recorder.ranges() != nullptr) begin_range(recorder, section_->name_.c_str());
  start_ns_ = now_ns();
}

SectionScope::~SectionScope() {
  if (section_ == nullptr) return;
  Recorder& recorder = section_->recorder_;
  const int64_t ns = now_ns() - start_ns_;
  const char* const name = section_->name_.c_str();
  section_->calls_.fetch_add(1, std::memory_order_relaxed);
  section_->ns_.fetch_add(ns, std::memory_order_relaxed);
  if (tracked_) {
    const SpanDetail detail{
        .bytes = memory_ ? memory_->delta()
                         : device::device_memory(*recorder.device()).allocated - allocated_,
        .peak = memory_ ? memory_->peak() : -1};
    section_->memory_calls_.fetch_add(1, std::memory_order_relaxed);
    section_->memory_delta_.fetch_add(detail.bytes, std::memory_order_relaxed);
    // One thread tracks memory, so nothing comes between.
    section_->memory_peak_.store(
        std::max(section_->memory_peak_.load(std::memory_order_relaxed), detail.peak),
        std::memory_order_relaxed);
    recorder.spans().write(name, section_->category_, start_ns_, ns, recorder.step(), detail);
  } else {
    recorder.spans().write(name, section_->category_, start_ns_, ns, recorder.step());
  }
  if (recorder.ranges() != nullptr) end_range(recorder);
}

}  // namespace trireme::telemetry
