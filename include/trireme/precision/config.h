#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace trireme::precision {

struct PrecisionConfig {
  std::string compute = "auto";
  std::string mode = "parameters";
  std::string reduce = "fp32";
  std::variant<double, std::string> loss_scale = "dynamic";
  int64_t growth_interval = 2000;
  bool fp8 = false;

  template <class B>
  void bind(B& b) {
    b.key("compute", compute)
        .doc("type of the arithmetic; auto: bf16 on GPUs that have it, else fp16; fp32 on CPUs")
        .one_of({"auto", "fp32", "bf16", "fp16"})
        .identity();
    b.key("mode", mode)
        .doc("parameters: held in the compute type with fp32 masters; autocast: fp32, cast per op")
        .one_of({"parameters", "autocast"})
        .identity();
    b.key("reduce", reduce)
        .doc("type in which gradients travel between ranks")
        .one_of({"fp32", "bf16"})
        .identity();
    b.key("loss_scale", loss_scale)
        .doc("fp16 only: dynamic, off, or a fixed number")
        .one_of({"dynamic", "off"})
        .above(0)
        .at_most(1e12)
        .identity();
    b.key("growth_interval", growth_interval)
        .doc("finite steps after which a dynamic loss scale doubles")
        .unit("steps")
        .at_least(1)
        .identity();
    b.key("fp8", fp8)
        .doc("matrix products of the model's blocks with 8-bit operands (e4m3, gradients e5m2), "
             "scaled tensor by tensor; pays from about 1.5 billion parameters up, on GPUs of "
             "capability 8.9 or more")
        .identity();
  }
};

}  // namespace trireme::precision
