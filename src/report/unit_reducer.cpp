#include <trireme/core/error.h>
#include <trireme/report/unit_reducer.h>

#include <cstring>

namespace trireme::report {
namespace {

constexpr size_t numbers = 3;  // a unit

std::string packed(std::span<const UnitRow> rows) {
  std::vector<double> values;
  for (const UnitRow& row : rows)
    values.insert(values.end(), {static_cast<double>(row.activations_bytes), row.forward_seconds,
                                 row.backward_seconds});
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)};
}

}  // namespace

std::optional<std::vector<UnitSpread>> reduce_units(comm::Communicator& ranks,
                                                    std::span<const UnitRow> mine) {
  const std::vector<std::string> all = ranks.gather_bytes(packed(mine), 0);
  if (ranks.rank() != 0) return {};
  const auto spread = [&](size_t number) {
    std::vector<double> values;
    for (const std::string& rank : all) {
      check(rank.size() == numbers * mine.size() * sizeof(double), "all ranks have the same units");
      std::memcpy(&values.emplace_back(), rank.data() + number * sizeof(double), sizeof(double));
    }
    return telemetry::spread_of(values);
  };
  std::vector<UnitSpread> units;
  for (size_t i = 0; i < mine.size(); ++i)
    units.push_back({.row = mine[i],
                     .activations_bytes = spread(numbers * i),
                     .forward_seconds = spread(numbers * i + 1),
                     .backward_seconds = spread(numbers * i + 2)});
  return units;
}

}  // namespace trireme::report
