#include "unit/report/scarce_memory.h"

#include <cstdlib>
#include <new>
#include <string>

#include <gtest/gtest.h>

namespace {

constexpr std::size_t much = 1 << 20;
thread_local bool is_scarce = false;

}  // namespace

// All other forms of new and delete of this program, but those for more alignment, come here.
void* operator new(std::size_t bytes) {
  void* const memory = is_scarce && bytes >= much ? nullptr : std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace trireme::report {

ScarceMemory::ScarceMemory(bool scarce) {
  is_scarce = scarce;
}
ScarceMemory::~ScarceMemory() {
  is_scarce = false;
}

namespace {

TEST(ScarceMemory, IsOfItsScope) {
  {
    const ScarceMemory scarce(true);
    EXPECT_THROW(std::string(much, 'x'), std::bad_alloc);
    EXPECT_NO_THROW(std::string(1000, 'x'));
  }
  EXPECT_NO_THROW(std::string(much, 'x'));
}

}  // namespace
}  // namespace trireme::report
