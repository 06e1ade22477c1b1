// Refuses every program.
#include <trireme/device/backend.h>

extern "C" trireme::device::Backend* trireme_open_backend(const char* /*version*/) {
  return nullptr;
}
