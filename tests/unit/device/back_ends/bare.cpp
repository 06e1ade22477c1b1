// A back end that finds no device.
#include <trireme/device/backend.h>

namespace {

using namespace trireme::device;

class Bare final : public Backend {
 public:
  [[nodiscard]] c10::DeviceType type() const override { return c10::DeviceType::IPU; }
  [[nodiscard]] const std::vector<Accelerator>& devices() const override { return devices_; }
  void use(int /*index*/) override {}
  void apply(const ComputeSettings& /*settings*/, int /*index*/) override {}
  [[nodiscard]] std::unique_ptr<Graph> make_graph(int /*index*/) override { return nullptr; }
  [[nodiscard]] Reading read(int /*index*/) override { return {}; }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> versions() const override { return {{"driver", "none"}}; }

 private:
  std::vector<Accelerator> devices_;
};

}  // namespace

extern "C" Backend* trireme_open_backend(const char* /*version*/) {
  return new Bare;
}
