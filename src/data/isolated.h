#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace trireme::data {

struct IsolationLimits {
  int64_t cpu_seconds = 10;                       ///< 0: none
  int64_t extra_memory_bytes = int64_t{1} << 30;  ///< address space beyond what this process has
};

/// Runs `work` in a forked child and returns its bytes. Parsing a damaged HDF5 file can crash or
/// loop in the library; the child takes that, and the caller gets an Error of kind data_damaged
/// about `path`. Errors that `work` throws come back as they are. The child shares nothing it
/// changes with this process and runs neither exit handlers nor signal handlers. `at_rest` is
/// locked while forking, so that the child finds what it protects in a consistent state, and
/// unlocked.
[[nodiscard]] std::string run_isolated(const std::string& path, std::mutex& at_rest,
                                       const IsolationLimits& limits,
                                       const std::function<std::string()>& work);

}  // namespace trireme::data
