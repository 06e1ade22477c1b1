// A back end of two devices that only remembers what it was told; versions() tells it.
#include <trireme/device/backend.h>

#include <fmt/format.h>

namespace {

using namespace trireme::device;

class Fake final : public Backend {
 public:
  [[nodiscard]] c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  [[nodiscard]] const std::vector<Accelerator>& devices() const override { return devices_; }
  void use(int index) override { told_.emplace_back("use", std::to_string(index)); }
  void apply(const ComputeSettings& settings, int index) override {
    told_.emplace_back("apply", fmt::format("{}: tf32 {}, benchmark {}, deterministic {}, fraction {}", index, settings.tf32,
                                            settings.cudnn_benchmark, settings.deterministic, settings.memory_fraction));
  }
  [[nodiscard]] std::unique_ptr<Graph> make_graph(int /*index*/) override { return nullptr; }
  [[nodiscard]] Reading read(int /*index*/) override { return {}; }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> versions() const override { return told_; }

 private:
  std::vector<Accelerator> devices_{{.name = "fake 0", .memory_bytes = 1 << 30}, {.name = "fake 1", .memory_bytes = 1 << 30}};
  std::vector<std::pair<std::string, std::string>> told_;
};

}  // namespace

extern "C" Backend* trireme_open_backend(const char* version) {
  return std::string(version) == TRIREME_VERSION ? new Fake : nullptr;
}
