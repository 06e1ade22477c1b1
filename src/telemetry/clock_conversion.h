#pragma once

#include <trireme/telemetry/span_log.h>

#include <cstdint>
#include <limits>

namespace trireme::telemetry {

/// A clock read together with now_ns(), as nearly as it goes.
template <class Read>
struct ClockReading {
  using Value = decltype(Read()());
  Value theirs = 0;
  int64_t ours = 0;

  static ClockReading now() {
    // The reading with the least time around it is the best.
    ClockReading best;
    int64_t least = std::numeric_limits<int64_t>::max();
    for (int i = 0; i < 7; ++i) {
      const int64_t before = now_ns();
      const Value theirs = Read()();
      const int64_t after = now_ns();
      if (after - before >= least) continue;
      least = after - before;
      best = {theirs, before + least / 2};
    }
    return best;
  }
};

/// Converts times of another clock, which runs evenly between two readings.
template <class Read>
class ClockConversion {
 public:
  using Reading = ClockReading<Read>;
  ClockConversion(const Reading& begin, const Reading& end) : begin_(begin) {
    const auto theirs = static_cast<double>(static_cast<int64_t>(end.theirs - begin.theirs));
    if (theirs > 0) rate_ = static_cast<double>(end.ours - begin.ours) / theirs;
  }
  [[nodiscard]] int64_t ours(typename Reading::Value theirs) const {
    return begin_.ours +
           static_cast<int64_t>(static_cast<double>(static_cast<int64_t>(theirs - begin_.theirs)) *
                                rate_);
  }

 private:
  Reading begin_;
  double rate_ = 1;
};

}  // namespace trireme::telemetry
