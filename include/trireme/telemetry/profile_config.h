#pragma once

#include <cstdint>
#include <string>

namespace trireme::telemetry {

/// Which steps are profiled, and what is recorded of them.
struct ProfileConfig {
  int64_t skip_first = 10;
  int64_t wait = 0;
  int64_t warmup = 1;
  int64_t active = 3;
  int64_t repeat = 1;
  bool shapes = true;
  bool memory = true;
  bool flops = true;
  bool stacks = false;
  std::string operators = "auto";
  int64_t max_events = 1'000'000;
  template <class B>
  void bind(B& b) {
    b.key("skip_first", skip_first)
        .doc("steps of an attempt before the first cycle of wait, warmup and active")
        .unit("steps")
        .at_least(0);
    b.key("wait", wait)
        .doc("steps at the start of a cycle that are not recorded")
        .unit("steps")
        .at_least(0);
    b.key("warmup", warmup)
        .doc(
            "then steps that are recorded and thrown away: the first ones pay for the recorder's "
            "start")
        .unit("steps")
        .at_least(0);
    b.key("active", active)
        .doc("then steps that are recorded and written")
        .unit("steps")
        .at_least(1);
    b.key("repeat", repeat).doc("cycles; 0: as long as the run goes on").at_least(0);
    b.key("shapes", shapes).doc("record the shapes of operations' inputs");
    b.key("memory", memory).doc("record what operations allocate and free");
    b.key("flops", flops).doc("count floating-point operations, by the shapes");
    b.key("stacks", stacks).doc("record where in the program operations are called; slow");
    b.key("operators", operators)
        .doc(
            "how operations are recorded: by callbacks, which is cheap, or by Kineto, which sees "
            "the "
            "device too; auto takes Kineto on devices")
        .one_of({"auto", "callbacks", "kineto"});
    b.key("max_events", max_events)
        .doc("the most operations of a recording on a rank; later ones are counted only")
        .at_least(1);
  }
};

}  // namespace trireme::telemetry
