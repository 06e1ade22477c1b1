#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trireme::device {

struct DeviceConfig {
  std::string type = "auto";
  std::optional<int64_t> memory_limit_mib;
  template <class B>
  void bind(B& b) {
    b.key("type", type)
        .doc("where to compute; auto takes the GPU if there is one and never falls back silently")
        .one_of({"auto", "cpu", "cuda"});
    b.key("memory_limit_mib", memory_limit_mib)
        .doc("tensors of a rank may take no more than this: what needs more fails; null: no limit")
        .unit("MiB")
        .at_least(1);
  }
};

}  // namespace trireme::device
