#pragma once

#include "cuda/device/sensors.h"

namespace trireme::cuda {

/// NVIDIA's GPUs. Made once, by the library's entry.
class CudaBackend final : public device::Backend {
 public:
  CudaBackend();
  [[nodiscard]] c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  [[nodiscard]] const std::vector<device::Accelerator>& devices() const override { return devices_; }
  void use(int index) override;
  void apply(const device::ComputeSettings& settings, int index) override;
  [[nodiscard]] std::unique_ptr<device::Graph> make_graph(int index) override;
  [[nodiscard]] device::Reading read(int index) override;
  void begin_range(const char* name) override;
  void end_range() override;
  [[nodiscard]] bool reaches(int from, int to) const override;
  void record_memory_history(MemoryHistory what) override;
  bool save_memory_snapshot(const std::string& path) override;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> versions() const override;

 private:
  void require(int index) const;

  std::vector<device::Accelerator> devices_;
  std::string reason_;  ///< why there is no device, in CUDA's words
  Sensors sensors_;
};

}  // namespace trireme::cuda
