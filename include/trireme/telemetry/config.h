#pragma once

#include <trireme/telemetry/profile_config.h>

#include <cstdint>
#include <optional>
#include <string>

namespace trireme::telemetry {

struct TelemetryConfig {
  int64_t log_every = 10;
  bool tensorboard = true;
  std::optional<std::string> prometheus;
  bool rank_records = false;
  double sensors_seconds = 1.0;
  std::optional<double> peak_tflops;
  std::string trace = "off";
  ProfileConfig profile;

  template <class B>
  void bind(B& b) {
    b.key("log_every", log_every)
        .doc("steps between two records of metrics.jsonl, each reduced over all ranks")
        .unit("steps")
        .at_least(1);
    b.key("tensorboard", tensorboard).doc("write event files for TensorBoard to run.dir/tensorboard");
    b.key("prometheus", prometheus)
        .doc("file that holds the last record's figures for the textfile collector of Prometheus' "
             "node_exporter, e.g. /var/lib/node_exporter/trireme.prom; null: none");
    b.key("rank_records", rank_records)
        .doc("every rank also writes its own figures, to logs/rank003.jsonl");
    b.key("sensors_seconds", sensors_seconds)
        .doc("how often a device's sensors (utilisation, power, temperature, clocks) are read; 0: never")
        .unit("s")
        .at_least(0.0);
    b.key("peak_tflops", peak_tflops)
        .doc("what a rank's device can compute at best in the run's type, for the utilisation (mfu); "
             "null: what its maker says, where that is known")
        .unit("10^12 operations a second")
        .above(0.0);
    b.key("trace", trace)
        .doc("what profile records: off: nothing; spans: phases, units and communication; full: the "
             "operations, too")
        .one_of({"off", "spans", "full"});
    b.section("profile", profile);
  }
};

}  // namespace trireme::telemetry
