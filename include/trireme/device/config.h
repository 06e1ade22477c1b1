#pragma once

#include <string>

namespace trireme::device {

struct DeviceConfig {
  std::string type = "auto";
  template <class B>
  void bind(B& b) {
    b.key("type", type)
        .doc("where to compute; auto takes the GPU if there is one and never falls back silently")
        .one_of({"auto", "cpu", "cuda"});
  }
};

}  // namespace trireme::device
