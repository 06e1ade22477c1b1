#include <trireme/core/error.h>
#include <trireme/report/section_reducer.h>

#include "json.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace trireme::report {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

std::string packed(std::span<const telemetry::SectionTotals> sections) {
  Json all = Json::array();
  for (const telemetry::SectionTotals& one : sections)
    all.push_back({one.name, static_cast<int>(one.category), one.calls, one.seconds,
                   one.memory_calls, one.memory_delta, one.memory_peak});
  return dump(all);
}

/// What each rank has of a section.
struct ByRank {
  explicit ByRank(size_t world)
      : seconds(world, unknown), memory_delta(world, unknown), memory_peak(world, unknown) {}
  int ranks = 0;
  double calls = 0;
  std::vector<double> seconds, memory_delta, memory_peak;

  void add(size_t rank, const Json& section) {
    ++ranks;
    calls += section.at(2).get<double>();
    seconds[rank] = section.at(3).get<double>();
    const double tracked = section.at(4).get<double>();
    if (tracked > 0) memory_delta[rank] = section.at(5).get<double>() / tracked;
    if (const double peak = section.at(6).get<double>(); peak >= 0) memory_peak[rank] = peak;
  }
};

}  // namespace

std::optional<std::vector<SectionSpread>> reduce_sections(
    comm::Communicator& ranks, std::span<const telemetry::SectionTotals> mine) {
  const std::vector<std::string> all = ranks.gather_bytes(packed(mine), 0);
  if (ranks.rank() != 0) return {};
  std::map<std::pair<std::string, int>, ByRank> found;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const Json sections = Json::parse(all[rank], nullptr, /*allow_exceptions=*/false);
    check(sections.is_array(), "every rank sends its sections");
    for (const Json& section : sections) {
      const std::pair key(section.at(0).get<std::string>(), section.at(1).get<int>());
      found.try_emplace(key, all.size()).first->second.add(rank, section);
    }
  }
  std::vector<SectionSpread> result;
  for (const auto& [key, by_rank] : found)
    result.push_back({.name = key.first,
                      .category = static_cast<telemetry::Category>(key.second),
                      .ranks = by_rank.ranks,
                      .calls = by_rank.calls / by_rank.ranks,
                      .seconds = telemetry::spread_of(by_rank.seconds),
                      .memory_delta = telemetry::spread_of(by_rank.memory_delta),
                      .memory_peak = telemetry::spread_of(by_rank.memory_peak)});
  std::ranges::stable_sort(result, std::greater(),
                           [](const SectionSpread& one) { return one.seconds.max; });
  return result;
}

}  // namespace trireme::report
