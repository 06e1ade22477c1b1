#pragma once

#include <trireme/device/backend.h>

#include <memory>
#include <string>

namespace trireme::cuda {

/// The GPUs' sensors, through NVIDIA's management library, which comes with the driver and is loaded if it is there.
class Sensors {
 public:
  Sensors();
  ~Sensors();
  Sensors(const Sensors&) = delete;
  Sensors& operator=(const Sensors&) = delete;

  /// Of the GPU of this uuid ("GPU-..."); nothing where it cannot be asked. Any thread.
  [[nodiscard]] device::Reading read(const std::string& uuid) const;
  /// "580.95.05"; empty without a driver.
  [[nodiscard]] std::string driver_version() const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace trireme::cuda
