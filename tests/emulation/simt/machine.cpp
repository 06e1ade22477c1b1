#include "emulation/simt/machine.h"

#include "emulation/simt/cuda/simt.h"
#include "emulation/simt/fiber.h"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::cuda::emulation {

namespace {

constexpr unsigned most_threads = 1024, lanes = 32;

enum class State : uint8_t { unborn, ready, waits_for_warp, waits_for_block, ended };

struct Thread {
  State state = State::unborn;
  Fiber* fiber = nullptr;
  std::source_location where;
  // What it left for its warp in this round of exchanges and in the one before, which others may still be reading.
  std::array<uint64_t, 2> bits{};
  unsigned round = 0;
};

std::string place(const std::source_location& where) {
  const std::string file = where.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line()) + " (" + where.function_name() + ")";
}

bool same(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && std::string_view(a.file_name()) == b.file_name();
}

class Machine {
 public:
  void run(unsigned grid_x, unsigned grid_y, unsigned threads, void (*body)(void*), void* context);

  void wait(State state, const std::source_location& where);
  void put(uint64_t bits) { me().bits[++me().round % 2] = bits; }
  [[nodiscard]] uint64_t get(unsigned lane) const {
    const Thread& other = threads_[current_ / lanes * lanes + lane];
    return other.bits[threads_[current_].round % 2];
  }
  [[nodiscard]] unsigned lane() const { return current_ % lanes; }

  Order order = Order::ascending;
  uint64_t launches = 0;
  std::mutex running;

 private:
  Thread& me() { return threads_[current_]; }
  void run_block(unsigned x, unsigned y);
  // Body of all fibers: threads one after the other, as long as none waits.
  static void serve(void* machine);
  // Whose turn it is next; whether anyone's.
  bool choose();
  void leave(Fiber& from);
  // Wakes the threads [first, first + count) if all of them wait alike.
  void meet(unsigned first, unsigned count, unsigned& arrived);
  std::string stuck(unsigned first, unsigned count) const;
  void arrange(std::vector<unsigned>& order_of, size_t n);

  void (*body_)(void*) = nullptr;
  void* context_ = nullptr;
  unsigned count_ = 0;
  std::vector<Thread> threads_;
  std::vector<unsigned> turns_, blocks_;
  size_t turn_ = 0;        // index into turns_ of the current thread
  unsigned current_ = 0;
  unsigned ended_ = 0;
  unsigned in_barrier_ = 0;
  std::array<unsigned, most_threads / lanes> in_warp_{};
  std::mt19937 random_{1};
  std::exception_ptr failure_;
  Fiber caller_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
};

Machine& machine() {
  static auto* const only = new Machine;
  return *only;
}

void Machine::arrange(std::vector<unsigned>& order_of, size_t n) {
  order_of.resize(n);
  std::iota(order_of.begin(), order_of.end(), 0U);
  if (order == Order::descending) std::reverse(order_of.begin(), order_of.end());
  if (order == Order::shuffled) std::shuffle(order_of.begin(), order_of.end(), random_);
}

void Machine::run(unsigned grid_x, unsigned grid_y, unsigned threads, void (*body)(void*), void* context) {
  if (threads == 0 || threads > most_threads || threads % lanes != 0 || grid_y > 65535)
    throw std::runtime_error("a launch of " + std::to_string(threads) + " threads in " + std::to_string(grid_x) + " by " +
                             std::to_string(grid_y) + " blocks");
  ++launches;
  body_ = body;
  context_ = context;
  count_ = threads;
  blockDim = {threads, 1, 1};
  gridDim = {grid_x, grid_y, 1};
  arrange(blocks_, size_t{grid_x} * grid_y);
  for (const unsigned block : blocks_) run_block(block % grid_x, block / grid_x);
}

void Machine::run_block(unsigned x, unsigned y) {
  blockIdx = {x, y, 0};
  threads_.assign(count_, {});
  arrange(turns_, count_);
  in_warp_.fill(0);
  ended_ = in_barrier_ = 0;
  failure_ = nullptr;
  turn_ = 0;
  current_ = turns_[0];
  if (idle_.empty()) idle_.push_back(fibers_.emplace_back(std::make_unique<Fiber>(&Machine::serve, this)).get());
  Fiber* const first = idle_.back();
  idle_.pop_back();
  threads_[current_].fiber = first;
  Fiber::change(caller_, *first);
  if (!failure_) return;
  idle_.clear();
  for (const auto& fiber : fibers_) {
    fiber->restart();
    idle_.push_back(fiber.get());
  }
  std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Machine::serve(void* argument) {
  auto& self = *static_cast<Machine*>(argument);
  while (true) {
    Thread& thread = self.me();
    Fiber* const fiber = thread.fiber;
    thread.state = State::ready;
    threadIdx.x = self.current_;
    try {
      self.body_(self.context_);
    } catch (...) {
      self.failure_ = std::current_exception();
    }
    self.me().state = State::ended;
    ++self.ended_;
    if (!self.failure_ && self.choose() && self.me().state == State::unborn) {
      self.me().fiber = fiber;
      continue;
    }
    self.idle_.push_back(fiber);
    self.leave(*fiber);
  }
}

bool Machine::choose() {
  for (size_t step = 1; step <= count_; ++step) {
    const size_t turn = turn_ + step < count_ ? turn_ + step : turn_ + step - count_;
    const State state = threads_[turns_[turn]].state;
    if (state != State::ready && state != State::unborn) continue;
    turn_ = turn;
    current_ = turns_[turn];
    return true;
  }
  return false;
}

// To the thread that choose() chose, or out of the block where there is none.
void Machine::leave(Fiber& from) {
  const State state = me().state;
  if (failure_ || (state != State::ready && state != State::unborn)) {
    if (!failure_ && ended_ < count_) failure_ = std::make_exception_ptr(std::runtime_error(stuck(0, count_)));
    Fiber::change(from, caller_);
    return;
  }
  if (state == State::unborn) {
    if (idle_.empty()) idle_.push_back(fibers_.emplace_back(std::make_unique<Fiber>(&Machine::serve, this)).get());
    me().fiber = idle_.back();
    idle_.pop_back();
  }
  if (me().fiber != &from) Fiber::change(from, *me().fiber);
}

void Machine::wait(State state, const std::source_location& where) {
  const unsigned self = current_;
  me().state = state;
  me().where = where;
  if (state == State::waits_for_warp)
    meet(self / lanes * lanes, lanes, in_warp_[self / lanes]);
  else
    meet(0, count_, in_barrier_);
  if (me().state == State::ready) return;  // the last one goes on
  choose();
  leave(*threads_[self].fiber);
  threadIdx.x = self;
}

void Machine::meet(unsigned first, unsigned count, unsigned& arrived) {
  if (++arrived < count) return;
  arrived = 0;
  for (unsigned i = first; i < first + count; ++i)
    if (!same(threads_[i].where, threads_[first].where)) throw std::runtime_error(stuck(first, count));
  for (unsigned i = first; i < first + count; ++i) threads_[i].state = State::ready;
}

// Of these threads: one that waits, and one that it waits for in vain.
std::string Machine::stuck(unsigned first, unsigned count) const {
  const auto waits = [](const Thread& t) { return t.state == State::waits_for_warp || t.state == State::waits_for_block; };
  auto begin = threads_.begin() + first, end = begin + count;
  const auto one = std::find_if(begin, end, waits);
  if (one->state == State::waits_for_warp) {
    begin = threads_.begin() + (one - threads_.begin()) / lanes * lanes;
    end = begin + lanes;
  }
  const auto other =
      std::find_if(begin, end, [&](const Thread& t) { return t.state != one->state || !same(t.where, one->where); });
  std::string text = "block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + "): thread " +
                     std::to_string(one - threads_.begin()) + " waits for its " +
                     (one->state == State::waits_for_warp ? "warp" : "block") + " at " + place(one->where);
  if (other == end) return text;
  return text + ", but thread " + std::to_string(other - threads_.begin()) +
         (other->state == State::ended ? " has ended" : " waits at " + place(other->where));
}

}  // namespace

OrderScope::OrderScope(Order order) : outer_(std::exchange(machine().order, order)) {}
OrderScope::~OrderScope() { machine().order = outer_; }

void run(unsigned grid_x, unsigned grid_y, unsigned threads, void (*thread)(void*), void* context) {
  const std::lock_guard lock(machine().running);
  machine().run(grid_x, grid_y, threads, thread, context);
}
uint64_t launches() {
  const std::lock_guard lock(machine().running);
  return machine().launches;
}
void wait_for_block(const std::source_location& where) { machine().wait(State::waits_for_block, where); }
void wait_for_warp(uint64_t bits, const std::source_location& where) {
  machine().put(bits);
  machine().wait(State::waits_for_warp, where);
}
uint64_t lane_bits(unsigned lane) { return machine().get(lane); }
unsigned lane() { return machine().lane(); }

void fail(const char* problem, const std::source_location& where) {
  throw std::runtime_error(std::string(problem) + " at " + place(where));
}

}  // namespace trireme::cuda::emulation
