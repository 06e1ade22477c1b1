// A checked longjmp would refuse to leave the stack.
#undef _FORTIFY_SOURCE

#include "emulation/simt/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace trireme::cuda::emulation {

namespace {

constexpr size_t guard_bytes = 4096;
constexpr size_t stack_bytes = 128 * 1024;

// The fiber that was left last: only for AddressSanitizer.
[[maybe_unused]] Fiber* left = nullptr;

}  // namespace

Fiber::Fiber(Body body, void* argument) : body_(body), argument_(argument), started_(false) {
  void* const memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<std::byte*>(memory);
  mprotect(stack_, guard_bytes, PROT_NONE);
  bottom_ = stack_ + guard_bytes;
  size_ = stack_bytes;
}

Fiber::~Fiber() {
  if (stack_ != nullptr) munmap(stack_, guard_bytes + stack_bytes);
}

void Fiber::restart() {
  started_ = false;
  fake_stack_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(bottom_, size_);  // of frames that will never return
#endif
}

// makecontext passes ints.
void Fiber::enter(unsigned low, unsigned high) {
  auto* const self = reinterpret_cast<Fiber*>(uintptr_t{low} | uintptr_t{high} << 32);
  self->arrived();
  self->body_(self->argument_);
}

// Without red zones on its stack: AddressSanitizer already believes to be on the other one.
[[gnu::no_sanitize_address]] void Fiber::start() {
  started_ = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = stack_ + guard_bytes;
  context.uc_stack.ss_size = stack_bytes;
  context.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&context, reinterpret_cast<void (*)()>(&Fiber::enter), 2, static_cast<unsigned>(self),
              static_cast<unsigned>(self >> 32));
  setcontext(&context);
}

// Contexts of the system also switch signal masks, by a system call each: only the first turn of a fiber uses them.
[[gnu::noinline, gnu::no_sanitize_address]] void Fiber::change(Fiber& from, Fiber& to) {
  if (_setjmp(from.registers_) == 0) {
    from.announce(to);
    if (!to.started_) to.start();
    _longjmp(to.registers_, 1);
  }
  from.arrived();
}

#if defined(__SANITIZE_ADDRESS__)
void Fiber::announce(Fiber& to) {
  left = this;
  __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.size_);
}
void Fiber::arrived() {
  const void* bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &size);
  left->bottom_ = bottom;
  left->size_ = size;
}
#else
void Fiber::announce(Fiber&) {}
void Fiber::arrived() {}
#endif

}  // namespace trireme::cuda::emulation
