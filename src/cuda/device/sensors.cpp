#include "cuda/device/sensors.h"

#include "cuda/device/throttle.h"

#include <array>

#include <dlfcn.h>

namespace trireme::cuda {
namespace {

// The part of nvml.h that is used; its interface is stable, and not every toolkit ships the header.
using NvmlDevice = void*;
using NvmlReturn = int;  // 0: success
struct NvmlUtilization {
  unsigned gpu, memory;  // percent
};
constexpr int nvml_temperature_gpu = 0;

}  // namespace

struct Sensors::Library {
  void* handle = nullptr;
  NvmlReturn (*init)() = nullptr;
  NvmlReturn (*shutdown)() = nullptr;
  NvmlReturn (*driver_version)(char*, unsigned) = nullptr;
  NvmlReturn (*handle_by_uuid)(const char*, NvmlDevice*) = nullptr;
  NvmlReturn (*utilization)(NvmlDevice, NvmlUtilization*) = nullptr;
  NvmlReturn (*power)(NvmlDevice, unsigned*) = nullptr;
  NvmlReturn (*temperature)(NvmlDevice, int, unsigned*) = nullptr;
  NvmlReturn (*clock_reasons)(NvmlDevice, unsigned long long*) = nullptr;

  template <class F>
  void find(F& function, const char* name, const char* older_name = nullptr) {
    void* symbol = dlsym(handle, name);
    if (symbol == nullptr && older_name != nullptr) symbol = dlsym(handle, older_name);
    function = reinterpret_cast<F>(symbol);
  }
};

Sensors::Sensors() {
  auto library = std::make_unique<Library>();
  library->handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library->handle == nullptr) return;
  library->find(library->init, "nvmlInit_v2");
  library->find(library->shutdown, "nvmlShutdown");
  library->find(library->driver_version, "nvmlSystemGetDriverVersion");
  library->find(library->handle_by_uuid, "nvmlDeviceGetHandleByUUID");
  library->find(library->utilization, "nvmlDeviceGetUtilizationRates");
  library->find(library->power, "nvmlDeviceGetPowerUsage");
  library->find(library->temperature, "nvmlDeviceGetTemperature");
  library->find(library->clock_reasons, "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons");
  if (library->init == nullptr || library->init() != 0) {
    dlclose(library->handle);
    return;
  }
  library_ = std::move(library);
}

Sensors::~Sensors() {
  if (library_ == nullptr) return;
  if (library_->shutdown != nullptr) library_->shutdown();
  dlclose(library_->handle);
}

device::Reading Sensors::read(const std::string& uuid) const {
  device::Reading reading;
  NvmlDevice gpu = nullptr;
  if (library_ == nullptr || library_->handle_by_uuid == nullptr || library_->handle_by_uuid(uuid.c_str(), &gpu) != 0) return reading;
  NvmlUtilization utilization{};
  if (library_->utilization != nullptr && library_->utilization(gpu, &utilization) == 0) reading.utilisation = utilization.gpu / 100.0;
  unsigned value = 0;
  if (library_->power != nullptr && library_->power(gpu, &value) == 0) reading.power_watts = value / 1000.0;
  if (library_->temperature != nullptr && library_->temperature(gpu, nvml_temperature_gpu, &value) == 0) reading.celsius = value;
  unsigned long long reasons = 0;
  if (library_->clock_reasons != nullptr && library_->clock_reasons(gpu, &reasons) == 0) reading.throttled = throttle_reasons(reasons);
  return reading;
}

std::string Sensors::driver_version() const {
  std::array<char, 96> text{};
  if (library_ == nullptr || library_->driver_version == nullptr || library_->driver_version(text.data(), text.size() - 1) != 0) return {};
  return text.data();
}

}  // namespace trireme::cuda
