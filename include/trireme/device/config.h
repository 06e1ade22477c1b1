#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::device {

/// Why `device.type` cannot be this; empty if it can: auto, cpu, cuda, or the name of an installed back end.
[[nodiscard]] std::string type_refusal(std::string_view type);

struct DeviceConfig {
  std::string type = "auto";
  std::optional<int64_t> memory_limit_mib;
  double memory_fraction = 1.0;
  std::string optimization_level = "basic";
  std::optional<bool> tf32;
  std::optional<bool> cudnn_benchmark;
  std::optional<bool> channels_last;

  template <class B>
  void bind(B& b) {
    b.key("type", type)
        .doc("where to compute: auto, cpu, cuda, or another back end that is installed; auto takes the GPU if there is one and never "
             "falls back silently");
    if (const std::string refusal = type_refusal(type); !refusal.empty()) b.refuse("type", refusal, "set it to auto, cpu or cuda");
    b.key("memory_limit_mib", memory_limit_mib)
        .doc("tensors of a rank may take no more than this: what needs more fails; null: no limit")
        .unit("MiB")
        .at_least(1);
    b.key("memory_fraction", memory_fraction)
        .doc("tensors of a rank may take no more than this part of its GPU's memory")
        .above(0.0)
        .at_most(1.0);
    b.key("optimization_level", optimization_level)
        .doc("sets device.tf32, device.cudnn_benchmark, device.channels_last, train.graph and train.compile together, where they are "
             "not set themselves; what it chose is logged")
        .one_of({"none", "basic", "advanced", "maximum"});
    b.key("tf32", tf32).doc("float32 products on GPUs with 10 bits of mantissa; null: as device.optimization_level says");
    b.key("cudnn_benchmark", cudnn_benchmark)
        .doc("measure which convolution algorithm is the fastest; null: as device.optimization_level says, and never with "
             "run.deterministic");
    b.key("channels_last", channels_last)
        .doc("images and convolution weights with their channels innermost; null: as device.optimization_level says");
  }
};

}  // namespace trireme::device
