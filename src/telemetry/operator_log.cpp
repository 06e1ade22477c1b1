#include "telemetry/operator_log.h"

#include <trireme/telemetry/memory.h>

#include "telemetry/backtrace.h"
#include "telemetry/operator_inputs.h"

#include <algorithm>

#include <c10/util/ApproximateClock.h>

namespace trireme::telemetry {
namespace {

// Small enough to come from the heap, not from the kernel page by page.
constexpr size_t chunk_entries = 1024;
constexpr size_t chunk_words = size_t{1} << 13;
constexpr size_t stack_frames = 32;
/// Frames between capture_backtrace() and whoever made the range: this log, the callback,
/// LibTorch's.
constexpr size_t own_frames = 2;

}  // namespace

int64_t EventBudget::take(int64_t wanted) {
  const int64_t before = left_.fetch_sub(wanted, std::memory_order_relaxed);
  const int64_t given = std::clamp<int64_t>(before, 0, wanted);
  if (given < wanted) left_.fetch_add(wanted - given, std::memory_order_relaxed);
  return given;
}

OperatorLog::OperatorLog(const OperatorTracer::Settings& settings, EventBudget& budget)
    : inputs_(settings.shapes || settings.flops),
      memory_(settings.memory),
      stacks_(settings.stacks),
      budget_(budget) {}

OperatorLog::Entry* OperatorLog::next_entry() {
  if (chunks_.empty() || chunks_.back().used == chunks_.back().size) {
    const auto size = static_cast<size_t>(budget_.take(chunk_entries));
    if (size == 0) return nullptr;
    chunks_.push_back({std::make_unique<Entry[]>(size), 0, size});
  }
  Chunk& chunk = chunks_.back();
  return &chunk.entries[chunk.used++];
}

int64_t* OperatorLog::room_for(size_t words) {
  if (words_left_ < words) {
    words_.push_back(std::make_unique_for_overwrite<int64_t[]>(chunk_words));
    words_at_ = words_.back().get();
    words_left_ = chunk_words;
  }
  return words_at_;
}

void OperatorLog::open(const at::RecordFunction& function) {
  if (depth_ == max_depth) {
    ++dropped_;
    return;
  }
  Entry* const entry = next_entry();
  open_[depth_++] = {&function, entry};
  if (entry == nullptr) {
    ++dropped_;
    return;
  }
  entry->name = names_.number(function.name());
  entry->scope = function.scope();
  const auto keep = [this](size_t words) {
    const int64_t* const begin = words_at_;
    words_at_ += words;
    words_left_ -= words;
    return begin;
  };
  if (inputs_) {
    int64_t* const room = room_for(InputCode::max_words);
    entry->inputs = keep(InputCode::write(function.inputs(), room));
  }
  if (stacks_) {
    int64_t* const room = room_for(stack_frames + 1);
    const size_t frames = capture_backtrace(room + 1, stack_frames, own_frames);
    *room = static_cast<int64_t>(frames);
    entry->stack = keep(frames + 1);
  }
  if (memory_) entry->bytes = -allocated_bytes();
  entry->start = c10::getApproximateTime();
}

void OperatorLog::close(const at::RecordFunction& function) {
  // Ranges that were opened before the recording are not here, and those beyond the greatest depth.
  size_t place = depth_;
  while (place > 0 && open_[place - 1].function != &function) --place;
  if (place == 0) return;
  const auto now = c10::getApproximateTime();
  for (; depth_ >= place; --depth_) {
    Entry* const entry = open_[depth_ - 1].entry;
    if (entry == nullptr) continue;
    entry->end = now;
    if (memory_) entry->bytes += allocated_bytes();
  }
}

std::vector<const OperatorLog::Entry*> OperatorLog::entries() const {
  std::vector<const Entry*> all;
  for (const Chunk& chunk : chunks_)
    for (size_t i = 0; i < chunk.used; ++i) all.push_back(&chunk.entries[i]);
  return all;
}

}  // namespace trireme::telemetry
