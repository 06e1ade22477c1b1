#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trireme::guard {

struct GuardConfig {
  std::string nonfinite = "stop";
  int64_t hang_seconds = 600;
  int64_t storage_seconds = 3600;
  std::optional<int64_t> replicas_every_steps;
  template <class B>
  void bind(B& b) {
    b.key("nonfinite", nonfinite)
        .doc(
            "what a step whose loss or gradients are not finite does: end the run, or leave the "
            "parameters alone and go on")
        .one_of({"stop", "skip"});
    b.key("hang_seconds", hang_seconds)
        .doc("how long one communication may take before the run counts as hung")
        .unit("s")
        .at_least(1);
    b.key("storage_seconds", storage_seconds)
        .doc("the same while ranks wait for one that reads, writes or verifies a checkpoint")
        .unit("s")
        .at_least(1);
    b.key("replicas_every_steps", replicas_every_steps)
        .doc("steps after which the ranks compare hashes of their parameters, which must be equal; "
             "null: never")
        .unit("steps")
        .at_least(1);
  }
};

}  // namespace trireme::guard
