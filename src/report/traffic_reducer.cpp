#include <trireme/core/error.h>
#include <trireme/report/traffic_reducer.h>

#include "json.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace trireme::report {
namespace {

std::string packed(std::span<const comm::TrafficRow> rows) {
  Json all = Json::array();
  for (const comm::TrafficRow& row : rows)
    all.push_back({row.group, row.operation, row.calls, row.bytes, row.busy_seconds,
                   row.waited_seconds, row.timed_bytes});
  return dump(all);
}

}  // namespace

std::optional<std::vector<TrafficSpread>> reduce_traffic(comm::Communicator& ranks,
                                                         std::span<const comm::TrafficRow> mine,
                                                         int64_t steps) {
  const std::vector<std::string> all = ranks.gather_bytes(packed(mine), 0);
  if (ranks.rank() != 0) return {};
  struct Sums {
    TrafficSpread row;
    std::vector<double> speed;  // by rank
  };
  std::map<std::pair<std::string, std::string>, Sums> found;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const Json rows = Json::parse(all[rank], nullptr, /*allow_exceptions=*/false);
    check(rows.is_array(), "every rank sends its traffic");
    for (const Json& row : rows) {
      auto& [sum, speed] = found[{row.at(0).get<std::string>(), row.at(1).get<std::string>()}];
      speed.resize(all.size(), std::numeric_limits<double>::quiet_NaN());
      const double busy = row.at(4).get<double>();
      ++sum.ranks;
      sum.calls += row.at(2).get<double>();
      sum.bytes += row.at(3).get<double>();
      sum.busy_seconds += busy;
      sum.waited_seconds += row.at(5).get<double>();
      if (busy > 0) speed[rank] = row.at(6).get<double>() / busy;
    }
  }
  std::vector<TrafficSpread> result;
  for (auto& [key, sums] : found) {
    TrafficSpread& row = sums.row;
    std::tie(row.group, row.operation) = key;
    const double share =
        1.0 / (static_cast<double>(row.ranks) * static_cast<double>(std::max<int64_t>(1, steps)));
    for (double* sum : {&row.calls, &row.bytes, &row.busy_seconds, &row.waited_seconds})
      *sum *= share;
    row.bytes_per_second = telemetry::spread_of(sums.speed);
    result.push_back(std::move(row));
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const auto& a, const auto& b) { return a.busy_seconds > b.busy_seconds; });
  return result;
}

}  // namespace trireme::report
