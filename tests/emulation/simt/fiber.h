#pragma once

#include <csetjmp>
#include <cstddef>

namespace trireme::cuda::emulation {

/// A stack of its own, on which code runs until it switches to another one. Never ends; may be left for good at any place, as
/// what it runs owns nothing.
class Fiber {
 public:
  using Body = void (*)(void*);
  /// `body` never returns.
  Fiber(Body body, void* argument);
  /// The stack that the caller runs on, to come back to.
  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves `from`, which is running, and goes on with `to`; returns when someone switches to `from`.
  static void change(Fiber& from, Fiber& to);
  /// Its next turn begins with `body` again.
  void restart();

 private:
  static void enter(unsigned low, unsigned high);
  void start();
  void announce(Fiber& to);
  void arrived();

  Body body_ = nullptr;
  void* argument_ = nullptr;
  std::byte* stack_ = nullptr;
  bool started_ = true;
  std::jmp_buf registers_{};
  // For AddressSanitizer, which keeps account of stacks.
  void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
};

}  // namespace trireme::cuda::emulation
