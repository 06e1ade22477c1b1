#pragma once

#include <trireme/telemetry/phase.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::telemetry {

class MemoryScope;
class Recorder;

/// What a section took on this rank so far.
struct SectionTotals {
  std::string name;
  Category category = Category::user;
  int64_t calls = 0;
  double seconds = 0;  ///< of the host, over all threads
  // Of the calls that tracked memory:
  int64_t memory_calls = 0;
  int64_t memory_delta = 0;  ///< bytes allocated at their ends less those at their beginnings
  int64_t memory_peak = -1;  ///< the most that one of them had above its beginning; -1: not known
};

/// A part of the program with a name, e.g. of a model: see Recorder::section(). What its scopes
/// took is summed up on each rank, and comes to rank 0 in the report.
class Section {
 public:
  Section(Recorder& recorder, std::string_view name, Category category)
      : recorder_(recorder), name_(name), category_(category) {}
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Category category() const { return category_; }
  [[nodiscard]] SectionTotals totals() const;

 private:
  friend class SectionScope;
  Recorder& recorder_;
  const std::string name_;
  const Category category_;
  std::atomic<int64_t> calls_{0}, ns_{0}, memory_calls_{0}, memory_delta_{0}, memory_peak_{-1};
};

/// The sections of a rank. Any thread.
class Sections {
 public:
  [[nodiscard]] Section& open(Recorder& recorder, std::string_view name, Category category);
  /// In the order in which they were opened, without those that nothing came to.
  [[nodiscard]] std::vector<SectionTotals> totals() const;

 private:
  mutable std::mutex guard_;
  std::deque<Section> sections_;
};

/// Recorder::section(), or null without a recorder.
[[nodiscard]] Section* section_of(Recorder* recorder, std::string_view name,
                                  Category category = Category::user);

/// One call of a section; leaves a span, too. Scopes nest. Any thread; with memory only on the
/// thread of the steps, since the memory of a process does not tell whose it is. Memory is that of
/// the tensors on the device that computes; its peak is known on a CPU alone.
class SectionScope {
 public:
  enum class Memory : uint8_t { ignored, tracked };
  explicit SectionScope(Section& section, Memory memory = Memory::ignored)
      : SectionScope(&section, memory) {}
  /// Null: nothing is recorded.
  explicit SectionScope(Section* section, Memory memory = Memory::ignored);
  ~SectionScope();
  SectionScope(const SectionScope&) = delete;
  SectionScope& operator=(const SectionScope&) = delete;

 private:
  Section* section_;  // null: the recorder is off
  int64_t start_ns_ = 0;
  int64_t allocated_ = 0;  // at the beginning, on a device
  bool tracked_ = false;
  std::unique_ptr<MemoryScope> memory_;  // on a CPU
};

}  // namespace trireme::telemetry
