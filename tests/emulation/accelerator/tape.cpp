#include "tape.h"

#include <trireme/core/error.h>

#include "generator.h"
#include "host_sync.h"
#include "streams.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace trireme::emulated {
namespace {

std::atomic<Tape*> active{nullptr};
std::atomic<uint64_t> tapes{0};
thread_local int paused = 0;

void join(Clock& into, const Clock& other) {
  for (const auto& [stream, count] : other) into[stream] = std::max(into[stream], count);
}

Error cannot(const std::string& what, const std::string& hint = {}) {
  return {ErrorKind::environment, what, hint};
}

}  // namespace

Tape::Tape() : id_(++tapes) {}

Tape::~Tape() {
  device_heap().drop_pool(id_);
  pinned_heap().drop_pool(id_);
}

bool Tape::records(const c10::Stream& stream) {
  const Tape* tape = active;
  if (tape == nullptr || stream.device_index() != tape->device_) return false;
  const std::lock_guard lock(tape->mutex_);
  return tape->clocks_.contains(stream.id());
}

bool Tape::records_here() {
  return active != nullptr && records(current_stream(current_device()));
}

Tape* Tape::here() {
  return paused == 0 && records_here() ? active.load() : nullptr;
}

uint64_t Tape::pool_here() {
  return records_here() ? active.load()->id_ : 0;
}

Tape::Pause::Pause() {
  ++paused;
}
Tape::Pause::~Pause() {
  --paused;
}

void Tape::record(const std::function<void()>& body) {
  trireme::check(operations_.empty(), "a graph is recorded once");
  const c10::Stream stream = current_stream(current_device());
  if (stream.id() == 0) throw cannot("the default stream cannot be recorded");
  device_ = stream.device_index();
  origin_ = stream.id();
  clocks_[origin_] = {};
  Tape* none = nullptr;
  if (!active.compare_exchange_strong(none, this)) throw cannot("another graph is being recorded");
  const at::Tensor draws = generator_state(device_);
  const auto finish = [&] {
    active = nullptr;
    restore();
    set_generator_state(device_, draws);
  };
  try {
    body();
    check_joined();
  } catch (...) {
    finish();
    operations_.clear();
    throw;
  }
  finish();
}

void Tape::check_joined() const {
  const Clock& end = clocks_.at(origin_);
  for (const auto& [stream, clock] : clocks_) {
    const auto own = clock.find(stream);
    const auto seen = end.find(stream);
    if (own != clock.end() && (seen == end.end() || seen->second < own->second))
      throw cannot(
          "a recording ended while work of another stream that it started was not waited for");
  }
}

void Tape::restore() {
  const Access access;
  for (auto& [id, saved] : saved_) {
    const auto now = saved.heap->find(saved.block.begin);
    if (now && now->id == id)
      std::memcpy(saved.block.begin, saved.bytes.data(), saved.bytes.size());
  }
  saved_.clear();
}

void Tape::replay() const {
  if (records_here()) throw cannot("a graph cannot be replayed while another one is recorded");
  for (const auto& [begin, what] : used_) {
    const auto now = what.first->find(begin);
    if (!now || now->id != what.second || now->freed)
      throw cannot("a recorded graph works on memory that was freed since",
                   "keep what it reads and writes at its address");
  }
  for (const Operation& operation : operations_) operation.run();
}

std::optional<std::pair<Heap*, Heap::Block>> Tape::block_at(const void* address) {
  if (address == nullptr) return {};
  for (Heap* heap : {&device_heap(), &pinned_heap()})
    if (const auto block = heap->find(address)) return std::pair(heap, *block);
  return {};
}

void Tape::will_write(const void* address) {
  const auto found = block_at(address);
  if (!found || found->second.pool == id_) return;
  const auto& [heap, block] = *found;
  const std::lock_guard lock(mutex_);
  const auto [saved, is_new] = saved_.try_emplace(block.id);
  if (!is_new) return;
  const Access access;
  saved->second = {heap, block, std::vector<std::byte>(block.begin, block.begin + block.bytes)};
}

void Tape::uses(const void* address) {
  const auto found = block_at(address);
  if (!found || found->second.pool == id_) return;
  const std::lock_guard lock(mutex_);
  used_.try_emplace(found->second.begin, found->first, found->second.id);
}

void Tape::append(std::string name, std::function<void()> operation) {
  const c10::StreamId stream = current_stream(device_).id();
  const std::lock_guard lock(mutex_);
  ++clocks_.at(stream)[stream];
  operations_.push_back({std::move(name), std::move(operation)});
}

std::optional<Moment> Tape::moment_of(const c10::Stream& stream) {
  if (!records(stream)) return {};
  const Tape* tape = active;
  const std::lock_guard lock(tape->mutex_);
  return Moment{tape->id_, tape->clocks_.at(stream.id())};
}

void Tape::wait(const c10::Stream& stream, const std::optional<Moment>& moment) {
  Tape* tape = active;
  if (moment && tape != nullptr && moment->tape == tape->id_) {
    const std::lock_guard lock(tape->mutex_);
    join(tape->clocks_[stream.id()], moment->clock);
  } else if (records(stream)) {
    throw cannot("a recorded stream cannot wait for work that is not recorded",
                 "let the stream wait before the recording begins");
  } else if (moment) {
    throw cannot("an event of a recording cannot be waited for after it");
  }
}

}  // namespace trireme::emulated
