#include <trireme/core/error.h>
#include <trireme/device/backend.h>
#include <trireme/storage/durable.h>

#include "allocators.h"
#include "communicators.h"
#include "emulated.h"
#include "hooks.h"
#include "kernels.h"
#include "streams.h"
#include "tape.h"

#include <array>
#include <cstring>
#include <string_view>

#include <c10/core/DeviceType.h>

namespace trireme::emulated {
namespace {

class Graph final : public device::Graph {
 public:
  void record(const std::function<void()>& body) override { tape_.record(body); }
  void replay() override { tape_.replay(); }

 private:
  Tape tape_;
};

class Backend final : public device::Backend {
 public:
  Backend() {
    for (int i = 0; i < device_count(); ++i) {
      device::Accelerator one;
      one.name = "emulated accelerator";
      one.uuid = "emulated-" + std::to_string(i);
      one.capability = "1.0";
      one.memory_bytes = static_cast<int64_t>(memory_of_a_device());
      one.multiprocessors = 1;
      one.has_bf16 = true;
      one.has_fp8 = true;
      devices_.push_back(std::move(one));
    }
  }
  c10::DeviceType type() const override { return device_type; }
  const std::vector<device::Accelerator>& devices() const override { return devices_; }
  void use(int index) override { make_current(stream_from_pool(index)); }
  void apply(const device::ComputeSettings& settings, int) override {
    limit_memory(
        static_cast<size_t>(settings.memory_fraction * static_cast<double>(memory_of_a_device())));
  }
  std::unique_ptr<device::Graph> make_graph(int) override { return std::make_unique<Graph>(); }
  device::Reading read(int) override { return {}; }
  void record_memory_history(MemoryHistory what) override { history_ = what; }
  /// Says what is remembered, for tests.
  bool save_memory_snapshot(const std::string& path) override {
    constexpr std::array<std::string_view, 3> names{"off", "sizes", "stacks"};
    storage::replace_file(path, names[static_cast<size_t>(history_)]);
    return true;
  }
  std::vector<std::pair<std::string, std::string>> versions() const override {
    return {{"emulated accelerator", TRIREME_VERSION}};
  }

 private:
  std::vector<device::Accelerator> devices_;
  MemoryHistory history_ = MemoryHistory::off;
};

}  // namespace
}  // namespace trireme::emulated

extern "C" trireme::device::Backend* trireme_open_backend(const char* version) {
  using namespace trireme::emulated;
  if (std::strcmp(version, TRIREME_VERSION) != 0) return nullptr;
  c10::register_privateuse1_backend("emulated");
  register_device_guard();
  register_allocators();
  register_hooks();
  register_kernels();
  register_communicators();
  static auto* const backend = new Backend;
  return backend;
}
