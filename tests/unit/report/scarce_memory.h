#pragma once

namespace trireme::report {

/// As long as it lives, `new` of a mebibyte or more throws std::bad_alloc on this thread.
class ScarceMemory {
 public:
  explicit ScarceMemory(bool scarce);
  ~ScarceMemory();
  ScarceMemory(const ScarceMemory&) = delete;
  ScarceMemory& operator=(const ScarceMemory&) = delete;
};

}  // namespace trireme::report
