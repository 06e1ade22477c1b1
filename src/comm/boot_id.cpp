#include "comm/boot_id.h"

#include <fstream>

namespace trireme::comm {

std::string boot_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

}  // namespace trireme::comm
