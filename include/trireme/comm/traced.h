#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/telemetry/recorder.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::comm {

/// What this rank did with one operation of one group.
struct TrafficRow {
  std::string group;      ///< label of the communicator, as in its spans
  std::string operation;  ///< "all_reduce", ..., "gather_bytes", "split"
  int64_t calls = 0;
  int64_t bytes = 0;          ///< of the larger tensor of each call; of byte strings the own one
  double busy_seconds = 0;    ///< transfers themselves, as far as their time is known
  double waited_seconds = 0;  ///< that callers were blocked
  int64_t timed_bytes = 0;    ///< of `bytes` those that took busy_seconds
};

/// `inner` with an eye on it: what it does, throws and promises stays the same. Each call leaves a
/// span in `recorder` once it was waited for or given up, with the group and, for collectives,
/// their number in it. Communicators split from it are traced too. `recorder` must outlive it and
/// its Works.
///
/// Groups are told apart by label: that of `inner`, unless given (two communicators of the same
/// ranks, one for the host and one for the device, need different ones), then by the names and
/// colours of the splits. All ranks give the same label.
[[nodiscard]] CommunicatorPtr traced(CommunicatorPtr inner, telemetry::Recorder& recorder,
                                     std::string_view label = {});

/// What the communicator and all that were split from it or from the same one have done so far, by
/// group and operation in the order of their first split; rows without calls are left out. Empty
/// for a communicator that is not traced. Any thread.
[[nodiscard]] std::vector<TrafficRow> traffic_of(const Communicator& communicator);
/// What was done after `before` and up to `now`.
[[nodiscard]] std::vector<TrafficRow> traffic_since(const std::vector<TrafficRow>& before,
                                                    std::vector<TrafficRow> now);
/// Counts calls and bytes once more: those of work that was recorded into a graph and is repeated,
/// where no call comes by. Does nothing for a communicator that is not traced. Any thread.
void count_again(const Communicator& communicator, const std::vector<TrafficRow>& rows);

}  // namespace trireme::comm
