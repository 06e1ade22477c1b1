#include <trireme/core/error.h>
#include <trireme/device/optimization.h>

#include <algorithm>

namespace trireme::device {
namespace {

bool switched_on(const DeviceConfig& config, const std::optional<bool>& own, std::string_view key) {
  return own ? *own : value_at(config.optimization_level, key) == "true";
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

std::string value_at(std::string_view level, std::string_view key) {
  const std::vector<Switch> switches = expand(level);
  const auto found = std::ranges::find(switches, key, &Switch::key);
  check(found != switches.end(), "every level says what it is for every key");
  return found->value;
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
