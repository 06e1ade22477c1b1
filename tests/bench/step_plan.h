#pragma once

#include <algorithm>
#include <vector>

namespace trireme::bench {

/// A step of fsdp of equal units in a chain, in seconds.
struct ShardedStep {
  int units = 0;
  double forward = 0, backward = 0;  ///< of one unit
  double gather = 0, reduce = 0;     ///< of one unit, alone on the network
  double agreement = 0;              ///< the small collective at the end of the step
};

/// How long the step takes if nothing but computing and communicating takes time. It assumes:
/// - one network, which executes collectives one after the other in the order they are issued, and
///   which is idle when the step begins; ranks that are equally fast and begin together;
/// - nothing is whole when the step begins. When forward reaches a unit, its parameters are waited
///   for and the next unit's gather is issued, then it computes;
/// - the last unit stays whole. When backward reaches a unit, its parameters are waited for and the
///   gather of the one before is issued. When it has computed, the reduction of the unit after it
///   is waited for and its own is issued;
/// - the step ends with the last reduction and then the agreement.
[[nodiscard]] inline double critical_path(const ShardedStep& step) {
  double now = 0, network_free = 0;
  const auto issue = [&](double seconds) {
    network_free = std::max(network_free, now) + seconds;
    return network_free;
  };
  const auto wait = [&](double end) {
    now = std::max(now, end);
  };
  const auto units = static_cast<size_t>(step.units);
  std::vector<double> whole(units, 0.0);  // when each unit's parameters were last gathered
  whole[0] = issue(step.gather);
  for (size_t u = 0; u < units; ++u) {
    wait(whole[u]);
    if (u + 1 < units) whole[u + 1] = issue(step.gather);
    now += step.forward;
  }
  double reduced = 0;  // when the last reduction that was issued ends
  for (size_t u = units; u-- > 0;) {
    wait(whole[u]);
    if (u > 0) whole[u - 1] = issue(step.gather);
    now += step.backward;
    wait(reduced);
    reduced = issue(step.reduce);
  }
  wait(reduced);
  wait(issue(step.agreement));
  return now;
}

}  // namespace trireme::bench
