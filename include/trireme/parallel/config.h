#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace trireme::parallel {

struct ParallelConfig {
  std::string strategy = "ddp";
  std::variant<int64_t, std::string> shard_group = "world";
  bool free_after_forward = true;
  bool reduce_every_micro_step = true;
  std::variant<int64_t, std::string> recompute = "none";
  std::string activations = "plain";
  std::variant<double, std::string> bucket_mib = "auto";

  template <class B>
  void bind(B& b) {
    b.key("strategy", strategy)
        .doc(
            "what is cut over the ranks instead of held by each: ddp nothing, zero1 the "
            "optimizer's state, zero2 gradients too, fsdp parameters too")
        .one_of({"ddp", "zero1", "zero2", "fsdp"});
    b.key("shard_group", shard_group)
        .doc(
            "ranks that share one copy of what is cut; groups hold equal copies: world, node, or a "
            "number of neighbouring ranks")
        .one_of({"world", "node"})
        .at_least(1);
    b.key("free_after_forward", free_after_forward)
        .doc("fsdp: parameters are freed after a unit's forward and gathered again for backward");
    b.key("reduce_every_micro_step", reduce_every_micro_step)
        .doc(
            "zero2, fsdp: gradients are cut after every micro-step; false: after the last one, "
            "which communicates less and holds whole gradients");
    b.key("recompute", recompute)
        .doc(
            "what is computed again in backward instead of kept, with the same results: none, "
            "selective (what the model marks as cheap), unit (all of every unit but its inputs), "
            "or "
            "a number n (of every n-th unit)")
        .one_of({"none", "selective", "unit"})
        .at_least(1);
    b.key("activations", activations)
        .doc(
            "how what is kept for backward is kept: plain; bf16 or int8, rounded and in a half or "
            "a "
            "quarter of the memory; host, away from the device's memory")
        .one_of({"plain", "bf16", "int8", "host"})
        .identity();
    b.key("bucket_mib", bucket_mib)
        .doc("gradients that travel together: auto (by their size and where the ranks are) or a number")
        .one_of({"auto"})
        .above(0)
        .at_most(1 << 20)
        .unit("MiB");
  }
};

}  // namespace trireme::parallel
