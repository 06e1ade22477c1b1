#include <trireme/core/error.h>
#include <trireme/device/optimization.h>

#include <algorithm>

namespace trireme::device {
namespace {

bool switched_on(const DeviceConfig& config, const std::optional<bool>& own, std::string_view key) {
  if (own) return *own;
  const std::vector<Switch> switches = expand(config.optimization_level);
  return std::find(switches.begin(), switches.end(), Switch{std::string(key), "true"}) != switches.end();
}

}  // namespace

std::vector<Switch> expand(std::string_view level) {
  const bool basic = level != "none";
  const bool advanced = level == "advanced" || level == "maximum";
  const auto text = [](bool on) { return on ? "true" : "false"; };
  return {{"device.tf32", text(basic)},
          {"device.cudnn_benchmark", text(basic)},
          {"device.channels_last", text(level == "maximum")},
          {"train.graph", basic ? "auto" : "off"},
          {"train.compile", advanced ? "max-autotune" : basic ? "default" : "off"}};
}

ComputeSettings compute_settings(const DeviceConfig& config, bool deterministic) {
  if (deterministic && config.cudnn_benchmark.value_or(false))
    throw Error(ErrorKind::configuration,
                "device.cudnn_benchmark: true with run.deterministic: true: what is the fastest differs from run to run",
                "leave device.cudnn_benchmark out, or set it to false");
  return {.tf32 = switched_on(config, config.tf32, "device.tf32"),
          .cudnn_benchmark = !deterministic && switched_on(config, config.cudnn_benchmark, "device.cudnn_benchmark"),
          .deterministic = deterministic,
          .memory_fraction = config.memory_fraction};
}

bool channels_last(const DeviceConfig& config) {
  return switched_on(config, config.channels_last, "device.channels_last");
}

}  // namespace trireme::device
