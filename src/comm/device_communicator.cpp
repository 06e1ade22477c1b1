#include <trireme/comm/device_communicator.h>
#include <trireme/core/error.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace trireme::comm {
namespace {

// Back ends are loaded once for the process.
struct Registry {
  std::mutex mutex;
  std::map<c10::DeviceType, DeviceCommunicators> makers;
};

Registry& registry() {
  static Registry the;
  return the;
}

}  // namespace

void register_device_communicators(c10::DeviceType type, DeviceCommunicators make) {
  check(type != c10::kCPU && make != nullptr, "communicators are registered for devices");
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.makers[type] = std::move(make);
}

CommunicatorPtr make_device_communicator(const CommunicatorPtr& ranks, c10::Device device) {
  if (device.is_cpu()) return ranks;
  DeviceCommunicators make;
  {
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    if (const auto found = all.makers.find(device.type()); found != all.makers.end())
      make = found->second;
  }
  if (make == nullptr)
    throw Error(ErrorKind::environment,
                "nothing here communicates between devices of type " +
                    c10::DeviceTypeName(device.type(), true),
                "load the back end of these devices first, or train on the CPU");
  return make(ranks, device);
}

}  // namespace trireme::comm
