#include <trireme/report/verdict.h>
#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

// Our own choice: below these a run is as good as its model allows, above them a cure pays.
constexpr double straggler_excess = 0.10;
constexpr double straggler_waits = 0.05;
constexpr double data_share = 0.15;
constexpr double comm_share = 0.20;
constexpr double checkpoint_share = 0.15;
constexpr double other_share = 0.30;

double share(const RankRow& row, Phase phase) {
  const double step = row[index_of(Item::step_seconds)];
  return step > 0 ? row[index_of(phase)] / step : 0;
}

double percent(double part) {
  return 100 * part;
}

/// "rank 3 on n2", or "rank 3" where the host is not known.
std::string name_rank(int rank, std::span<const std::string> hosts) {
  const auto index = static_cast<size_t>(rank);
  if (index >= hosts.size() || hosts[index].empty()) return fmt::format("rank {}", rank);
  return fmt::format("rank {} on {}", rank, hosts[index]);
}

struct Shares {
  std::array<double, telemetry::phase_count> mean{};
  std::array<int, telemetry::phase_count> worst_rank{};
  std::array<double, telemetry::phase_count> worst{};
};

Shares shares_of(std::span<const RankRow> rows) {
  Shares shares;
  std::vector<double> column(rows.size());
  for (size_t i = 0; i < telemetry::phase_count; ++i) {
    std::transform(rows.begin(), rows.end(), column.begin(),
                   [i](const RankRow& row) { return share(row, static_cast<Phase>(i)); });
    const telemetry::Spread spread = telemetry::spread_of(column);
    shares.mean[i] = spread.mean;
    shares.worst_rank[i] = spread.max_rank;
    shares.worst[i] = spread.max;
  }
  return shares;
}

std::optional<Verdict> straggler(std::span<const RankRow> rows,
                                 std::span<const std::string> hosts) {
  const Slowest slowest = slowest_of(rows);
  if (slowest.rank < 0 || slowest.excess < straggler_excess) return std::nullopt;
  const auto slow = static_cast<size_t>(slowest.rank);

  double waits = 0;
  Phase cause = Phase::other;
  double most = 0;
  for (size_t r = 0; r < rows.size(); ++r)
    if (r != slow)
      waits += share(rows[r], Phase::comm_exposed) / static_cast<double>(rows.size() - 1);
  if (waits < straggler_waits) return std::nullopt;
  for (size_t i = 0; i < telemetry::phase_count; ++i) {
    if (static_cast<Phase>(i) == Phase::comm_exposed) continue;
    std::vector<double> others;
    for (size_t r = 0; r < rows.size(); ++r)
      if (r != slow) others.push_back(rows[r][i]);
    const double excess = rows[slow][i] - telemetry::median_of(others);
    if (excess > most) {
      most = excess;
      cause = static_cast<Phase>(i);
    }
  }
  Verdict verdict;
  verdict.kind = "straggler";
  verdict.rank = slowest.rank;
  verdict.text = fmt::format(
      "STRAGGLER: {} works {:.0f} % longer than the others, mostly in {} (+{:.3g} s a step); they "
      "wait {:.0f} % of the step",
      name_rank(slowest.rank, hosts), percent(slowest.excess), telemetry::name_of(cause), most,
      percent(waits));
  verdict.evidence = {{"excess", slowest.excess},
                      {std::string(telemetry::name_of(cause)) + "_excess_seconds", most},
                      {"others_comm_exposed_share", waits}};
  return verdict;
}

struct Suspect {
  Phase phase;
  double threshold;
  std::string_view kind;
  std::string_view what;
};
constexpr std::array<Suspect, 4> suspects{{
    {Phase::data, data_share, "input-bound", "INPUT-BOUND: {:.0f} % of the step waits for data"},
    {Phase::comm_exposed, comm_share, "communication-bound",
     "COMMUNICATION-BOUND: {:.0f} % of the step waits for communication"},
    {Phase::checkpoint, checkpoint_share, "checkpoint-bound",
     "CHECKPOINT-BOUND: {:.0f} % of the step waits for checkpoints"},
    {Phase::other, other_share, "overhead-bound",
     "OVERHEAD-BOUND: {:.0f} % of the step is outside of all phases"},
}};

}  // namespace

Verdict judge(std::span<const RankRow> rows, std::span<const std::string> hosts) {
  const bool measured = std::any_of(rows.begin(), rows.end(), [](const RankRow& row) {
    return row[index_of(Item::step_seconds)] > 0;
  });
  if (!measured) return {"unknown", "no step was measured", -1, {}};
  if (auto found = straggler(rows, hosts)) return *found;

  const Shares shares = shares_of(rows);
  Verdict verdict;
  for (size_t i = 0; i < telemetry::phase_count; ++i)
    verdict.evidence.emplace_back(std::string(telemetry::phase_names[i]) + "_share",
                                  shares.mean[i]);

  const Suspect* worst = nullptr;
  for (const Suspect& suspect : suspects) {
    const double part = shares.mean[index_of(suspect.phase)];
    if (part >= suspect.threshold &&
        (worst == nullptr || part > shares.mean[index_of(worst->phase)]))
      worst = &suspect;
  }
  if (worst == nullptr) {
    const auto part = [&](Phase phase) {
      return percent(shares.mean[index_of(phase)]);
    };
    verdict.kind = "compute-bound";
    const double graph = part(Phase::graph);
    verdict.text = fmt::format(
        "COMPUTE-BOUND: {:.0f} % of the step computes (forward {:.0f} %, backward {:.0f} %, "
        "optimizer {:.0f} %{})",
        part(Phase::forward) + part(Phase::backward) + part(Phase::optimizer) + graph,
        part(Phase::forward), part(Phase::backward), part(Phase::optimizer),
        graph > 0 ? fmt::format(", all of these as one graph {:.0f} %", graph) : "");
    return verdict;
  }
  const size_t i = index_of(worst->phase);
  verdict.kind = worst->kind;
  verdict.text = fmt::format(fmt::runtime(worst->what), percent(shares.mean[i]));
  if (rows.size() > 1) {
    verdict.rank = shares.worst_rank[i];
    verdict.text += fmt::format("; most on {}: {:.0f} %", name_rank(verdict.rank, hosts),
                                percent(shares.worst[i]));
  }
  return verdict;
}

}  // namespace trireme::report
