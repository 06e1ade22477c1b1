#pragma once

#include <cstdint>

namespace trireme::telemetry {

struct TelemetryConfig {
  int64_t log_every = 10;
  template <class B>
  void bind(B& b) {
    b.key("log_every", log_every)
        .doc("steps between two records of metrics.jsonl, each reduced over all ranks")
        .unit("steps")
        .at_least(1);
  }
};

}  // namespace trireme::telemetry
