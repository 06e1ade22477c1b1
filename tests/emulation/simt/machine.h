#pragma once

#include <cstdint>
#include <source_location>

// A machine that runs kernels on the CPU: blocks one after the other, the threads of a block as fibers of one thread of the
// system, which change places where a thread waits for others. It is slow and strict: what hardware leaves undefined is an
// exception from launch.
namespace trireme::cuda::emulation {

/// In which order blocks follow each other, and in which threads get their turn. A kernel whose result depends on it lacks a
/// barrier.
enum class Order : uint8_t { ascending, descending, shuffled };

/// While it lives, all launches of the process have this order. Not to be used by two threads at once.
class OrderScope {
 public:
  explicit OrderScope(Order order);
  ~OrderScope();
  OrderScope(const OrderScope&) = delete;
  OrderScope& operator=(const OrderScope&) = delete;

 private:
  Order outer_;
};

/// Runs `thread(context)` for each thread of a grid, then returns. Launches of several threads of the process take turns, as
/// __shared__ variables exist once. Throws what a thread threw; std::runtime_error where threads wait for each other for ever
/// or at different places.
void run(unsigned grid_x, unsigned grid_y, unsigned threads, void (*thread)(void*), void* context);
/// Kernels run since the process began.
[[nodiscard]] uint64_t launches();

/// What the language's functions are made of; called by threads of a running grid.
void wait_for_block(const std::source_location& where);
/// Leaves `bits` for the other lanes of the warp, and waits for theirs, which lane_bits() then gives until the next call.
void wait_for_warp(uint64_t bits, const std::source_location& where);
[[nodiscard]] uint64_t lane_bits(unsigned lane);
[[nodiscard]] unsigned lane();
[[noreturn]] void fail(const char* problem, const std::source_location& where);

}  // namespace trireme::cuda::emulation
