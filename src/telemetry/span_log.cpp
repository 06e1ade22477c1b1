#include <trireme/core/error.h>
#include <trireme/telemetry/span_log.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

namespace trireme::telemetry {
namespace {

std::atomic<uint64_t> next_log{1};

}  // namespace

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// One writer (its thread), one reader at a time. Record i lives in slot i % capacity and may be
/// overwritten once written_ == i + capacity, so a reader that still finds written_ < i + capacity
/// after copying has a whole record. The words are stored with release and loaded with acquire:
/// whoever sees a word of a later record also sees the count before it.
class SpanLog::Ring {
 public:
  Ring(size_t capacity, int number)
      : owner(std::this_thread::get_id()), thread(number), slots_(capacity) {}
  ~Ring() { delete[] details_.load(std::memory_order_relaxed); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  void write(const char* name, Category category, int64_t start_ns, int64_t duration_ns,
             int64_t step, Track track, const SpanDetail* detail) {
    const uint64_t index = written_.load(std::memory_order_relaxed);
    Slot& slot = slots_[index % slots_.size()];
    const bool detailed = detail != nullptr && write_detail(index, *detail);
    const int64_t flags = (detailed ? detail_flag : 0) | (track == Track::units ? units_flag : 0);
    slot.name.store(name, std::memory_order_release);
    slot.start.store(start_ns, std::memory_order_release);
    slot.duration.store(duration_ns, std::memory_order_release);
    slot.step_and_category.store(step * 256 + (static_cast<int64_t>(category) | flags),
                                 std::memory_order_release);
    written_.store(index + 1, std::memory_order_release);
  }

  /// Appends what is new to `out`; returns how many records were overwritten unseen.
  int64_t drain(std::vector<SpanRecord>& out) {
    const uint64_t end = written_.load(std::memory_order_acquire);
    const uint64_t first = std::max(read_, end > slots_.size() ? end - slots_.size() : 0);
    int64_t lost = static_cast<int64_t>(first - read_);
    for (uint64_t index = first; index < end; ++index) {
      const Slot& slot = slots_[index % slots_.size()];
      SpanRecord record;
      record.name = slot.name.load(std::memory_order_acquire);
      record.start_ns = slot.start.load(std::memory_order_acquire);
      record.duration_ns = slot.duration.load(std::memory_order_acquire);
      const int64_t packed = slot.step_and_category.load(std::memory_order_acquire);
      if ((packed & detail_flag) != 0) read_detail(index, record);
      if (written_.load(std::memory_order_acquire) >= index + slots_.size()) {
        ++lost;
        continue;
      }
      record.category = static_cast<Category>(packed & (units_flag - 1));
      record.track = (packed & units_flag) != 0 ? Track::units : Track::thread;
      record.step = packed >> 8;
      record.thread = thread;
      out.push_back(record);
    }
    read_ = end;
    return lost;
  }

  const std::thread::id owner;
  const int thread;
  std::string called;  // under the log's lock

 private:
  struct Slot {
    std::atomic<const char*> name{nullptr};
    std::atomic<int64_t> start{0};
    std::atomic<int64_t> duration{0};
    std::atomic<int64_t> step_and_category{0};
  };
  struct Detail {
    std::atomic<int64_t> bytes{0};
    std::atomic<int64_t> peak{-1};
    std::atomic<int64_t> sequence{0};
    std::atomic<const char*> group{nullptr};
    std::atomic<int64_t> place{0};  // rank and size of the group, 32 bits each
  };
  static constexpr int64_t detail_flag = 128, units_flag = 64;
  static_assert(category_count <= units_flag);

  /// False: there is no memory for it.
  bool write_detail(uint64_t index, const SpanDetail& detail) {
    Detail* details = details_.load(std::memory_order_relaxed);
    if (details == nullptr) {
      details = new (std::nothrow) Detail[slots_.size()];
      if (details == nullptr) return false;
      details_.store(details, std::memory_order_release);
    }
    Detail& into = details[index % slots_.size()];
    into.bytes.store(detail.bytes, std::memory_order_release);
    into.peak.store(detail.peak, std::memory_order_release);
    into.sequence.store(detail.sequence, std::memory_order_release);
    into.group.store(detail.group, std::memory_order_release);
    into.place.store((static_cast<int64_t>(detail.group_rank) << 32) | detail.group_size,
                     std::memory_order_release);
    return true;
  }

  void read_detail(uint64_t index, SpanRecord& record) const {
    // There is one: the flag was stored after it.
    const Detail& detail = details_.load(std::memory_order_acquire)[index % slots_.size()];
    record.bytes = detail.bytes.load(std::memory_order_acquire);
    record.peak = detail.peak.load(std::memory_order_acquire);
    record.sequence = detail.sequence.load(std::memory_order_acquire);
    record.group = detail.group.load(std::memory_order_acquire);
    const int64_t place = detail.place.load(std::memory_order_acquire);
    record.group_rank = static_cast<int32_t>(place >> 32);
    record.group_size = static_cast<int32_t>(place & 0xffffffff);
  }

  std::vector<Slot> slots_;
  std::atomic<Detail*> details_{nullptr};
  std::atomic<uint64_t> written_{0};
  uint64_t read_ = 0;
};

SpanLog::SpanLog(size_t spans_per_thread)
    : id_(next_log.fetch_add(1)), capacity_(spans_per_thread) {
  check(spans_per_thread > 0, "a span ring holds at least one record");
}
SpanLog::~SpanLog() = default;

SpanLog::Ring* SpanLog::ring_of_this_thread() {
  // Logs are told apart by number, never by address, so an entry of a dead log cannot match a new
  // one.
  thread_local struct {
    uint64_t log = 0;
    Ring* ring = nullptr;
  } last;
  if (last.log == id_) return last.ring;

  const std::lock_guard lock(guard_);
  Ring* found = nullptr;
  for (size_t i = 0; i < threads_ && found == nullptr; ++i)
    if (rings_[i]->owner == std::this_thread::get_id()) found = rings_[i].get();
  if (found == nullptr && threads_ < max_threads) try {
      rings_[threads_] = std::make_unique<Ring>(capacity_, static_cast<int>(threads_));
      found = rings_[threads_++].get();
    } catch (const std::bad_alloc&) {  // records are not worth a run
    }
  last = {id_, found};
  return found;
}

void SpanLog::write(const char* name, Category category, int64_t start_ns, int64_t duration_ns,
                    int64_t step, Track track) {
  write(name, category, start_ns, duration_ns, step, track, nullptr);
}

void SpanLog::write(const char* name, Category category, int64_t start_ns, int64_t duration_ns,
                    int64_t step, const SpanDetail& detail) {
  write(name, category, start_ns, duration_ns, step, Track::thread, &detail);
}

void SpanLog::write(const char* name, Category category, int64_t start_ns, int64_t duration_ns,
                    int64_t step, Track track, const SpanDetail* detail) {
  Ring* ring = ring_of_this_thread();
  if (ring == nullptr)
    dropped_.fetch_add(1, std::memory_order_relaxed);
  else
    ring->write(name, category, start_ns, duration_ns, step, track, detail);
}

const char* SpanLog::keep(std::string_view name) {
  const std::lock_guard lock(guard_);
  const auto found = kept_.find(name);
  return (found != kept_.end() ? found : kept_.emplace(name).first)->c_str();
}

void SpanLog::name_this_thread(std::string name) {
  Ring* ring = ring_of_this_thread();
  if (ring == nullptr) return;
  const std::lock_guard lock(guard_);
  ring->called = std::move(name);
}

std::vector<std::string> SpanLog::thread_names() const {
  const std::lock_guard lock(guard_);
  std::vector<std::string> names;
  for (size_t i = 0; i < threads_; ++i)
    names.push_back(rings_[i]->called.empty() ? "thread " + std::to_string(i) : rings_[i]->called);
  return names;
}

int SpanLog::this_thread() {
  const Ring* ring = ring_of_this_thread();
  return ring == nullptr ? -1 : ring->thread;
}

std::vector<SpanRecord> SpanLog::drain() {
  std::vector<SpanRecord> records;
  const std::lock_guard lock(guard_);
  for (size_t i = 0; i < threads_; ++i)
    dropped_.fetch_add(rings_[i]->drain(records), std::memory_order_relaxed);
  std::stable_sort(records.begin(), records.end(), [](const SpanRecord& a, const SpanRecord& b) {
    return a.start_ns < b.start_ns;
  });
  return records;
}

int64_t SpanLog::dropped() const {
  return dropped_.load(std::memory_order_relaxed);
}

}  // namespace trireme::telemetry
