#include <trireme/core/error.h>
#include <trireme/precision/precision.h>

#include <fmt/core.h>

namespace trireme::precision {

namespace {

// PyTorch's GradScaler starts here, too.
constexpr double first_dynamic_scale = 65536.0;

at::ScalarType compute_type(const std::string& name, at::DeviceType device, bool has_bf16) {
  if (name == "fp32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp16") return at::kHalf;
  if (device == at::kCPU) return at::kFloat;
  return has_bf16 ? at::kBFloat16 : at::kHalf;
}

}  // namespace

Precision resolve(const PrecisionConfig& config, at::DeviceType device, bool has_bf16) {
  Precision result;
  result.compute = compute_type(config.compute, device, has_bf16);
  result.reduce = config.reduce == "bf16" ? at::kBFloat16 : at::kFloat;
  result.growth_interval = config.growth_interval;

  result.fp8 = config.fp8;
  if (config.fp8 && (result.compute == at::kHalf || config.mode == "autocast"))
    throw Error(ErrorKind::configuration,
                fmt::format("precision.fp8: true goes with bfloat16 or float32 parameters, not with {}",
                            config.mode == "autocast" ? "precision.mode: autocast"
                                                      : "precision.compute: fp16"),
                "set precision.mode: parameters and precision.compute: bf16");

  if (config.mode == "autocast") {
    if (config.compute == "fp32")
      throw Error(ErrorKind::configuration, "precision: autocast to fp32 changes nothing",
                  "set precision.compute to bf16 or fp16, or precision.mode: parameters");
    result.autocast = result.compute != at::kFloat;
  } else {
    result.parameters = result.compute;
  }

  const double* const fixed = std::get_if<double>(&config.loss_scale);
  if (result.compute != at::kHalf) {
    // The default, dynamic, is no wish of anybody's; a number is.
    if (fixed)
      throw Error(ErrorKind::configuration,
                  fmt::format("precision.loss_scale: {} was asked for, but only fp16 needs a loss "
                              "scale",
                              *fixed),
                  "remove precision.loss_scale, or set precision.compute: fp16");
    return result;
  }
  if (fixed) {
    result.loss_scale = LossScale::fixed;
    result.initial_scale = *fixed;
  } else if (std::get<std::string>(config.loss_scale) == "dynamic") {
    result.loss_scale = LossScale::dynamic;
    result.initial_scale = first_dynamic_scale;
  }
  return result;
}

}  // namespace trireme::precision
