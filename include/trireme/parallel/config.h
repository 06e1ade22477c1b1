#pragma once

#include <string>
#include <variant>

namespace trireme::parallel {

struct ParallelConfig {
  std::string strategy = "ddp";
  std::variant<double, std::string> bucket_mib = "auto";

  template <class B>
  void bind(B& b) {
    b.key("strategy", strategy)
        .doc("ddp: every rank holds the whole model and gradients are summed over all")
        .one_of({"ddp"});
    b.key("bucket_mib", bucket_mib)
        .doc("gradients that travel together: auto (a sixteenth of all, 1 to 25) or a number")
        .one_of({"auto"})
        .above(0)
        .at_most(1 << 20)
        .unit("MiB");
  }
};

}  // namespace trireme::parallel
