#pragma once

#include <trireme/core/fault.h>

#include <cstdlib>

namespace trireme::test {

// The fault sites read their variable once a process, so every fault that a test here wants is
// declared before, at a step of its own.
constexpr long write_enospc = 101, write_eio = 102, fsync_eio = 103, rename_eio = 104,
               fsync_enospc = 105, no_exchange = 106, unlink_eio = 107, truncate_eio = 108,
               read_eio = 109;
inline const int faults_declared = ::setenv("TRIREME_FAULT",
                                            "storage.write:*:101:enospc,storage.write:*:102:eio,"
                                            "storage.fsync:*:103:eio,storage.rename:*:104:eio,"
                                            "storage.fsync:*:105:enospc,storage.exchange:*:106:eio,"
                                            "storage.unlink:*:107:eio,storage.truncate:*:108:eio,"
                                            "storage.read:*:109:eio",
                                            1);

/// The fault happens while this lives.
class FaultScope {
 public:
  explicit FaultScope(long step) { core::fault::set_step(step); }
  ~FaultScope() { core::fault::set_step(-1); }
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;
};

}  // namespace trireme::test
