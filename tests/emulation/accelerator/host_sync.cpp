#include "host_sync.h"

#include <trireme/core/error.h>

#include "tape.h"

#include <atomic>

namespace trireme::emulated {
namespace {

std::atomic<int64_t> count{0};
std::atomic<int> forbidden{0};

}  // namespace

void refuse_in_recording(const std::string& what) {
  throw Error(
      ErrorKind::environment,
      what + " cannot be recorded: the host would wait for the device, or read its results");
}

void host_sync(const std::string& what) {
  if (Tape::records_here()) refuse_in_recording(what);
  if (forbidden > 0)
    throw Error(ErrorKind::environment,
                what + " makes the host wait for the device, which is forbidden here");
  ++count;
}

int64_t host_syncs() {
  return count;
}

ForbidSyncs::ForbidSyncs() {
  ++forbidden;
}
ForbidSyncs::~ForbidSyncs() {
  --forbidden;
}

}  // namespace trireme::emulated
