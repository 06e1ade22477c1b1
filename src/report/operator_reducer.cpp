#include <trireme/core/error.h>
#include <trireme/report/operator_table.h>

#include "json.h"

#include <algorithm>
#include <map>
#include <utility>

namespace trireme::report {
namespace {

using telemetry::OperatorEvent;
using Kind = OperatorEvent::Kind;

/// What a rank tells of: the rest of thousands of names takes no time.
constexpr size_t told_operators = 400, told_syncs = 100;
constexpr size_t shown_operators = 200, shown_syncs = 50;

/// Quantities of one name, by rank that recorded.
struct Quantities {
  std::vector<double> self, total, calls, flops, bytes;
  explicit Quantities(size_t ranks)
      : self(ranks), total(ranks), calls(ranks), flops(ranks), bytes(ranks) {}
};

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

bool on_device(Kind kind) {
  return kind == Kind::kernel || kind == Kind::copy;
}

class Reduction {
 public:
  explicit Reduction(std::vector<int> ranks) : ranks_(std::move(ranks)) {}

  void add(size_t place, const Json& rank) {
    dropped_ += rank.at("dropped").get<int64_t>();
    on_device_ = on_device_ || rank.at("on_device").get<bool>();
    for (const Json& row : rank.at("operators")) {
      const Key key{row[0].get<std::string>(), row[1].get<int>()};
      Quantities& all = operators_.try_emplace(key, ranks_.size()).first->second;
      all.calls[place] = row[2].get<double>();
      all.self[place] = row[3].get<double>();
      all.total[place] = row[4].get<double>();
      all.flops[place] = row[5].get<double>();
      all.bytes[place] = row[6].get<double>();
    }
    for (const Json& row : rank.at("host_syncs")) {
      Quantities& all =
          syncs_.try_emplace({row[0].get<std::string>(), row[1].get<std::string>()}, ranks_.size())
              .first->second;
      all.calls[place] = row[2].get<double>();
      all.self[place] = row[3].get<double>();
    }
  }

  [[nodiscard]] OperatorReport report() const {
    OperatorReport report;
    report.ranks = static_cast<int>(ranks_.size());
    report.dropped = dropped_;
    double on_host = 0, on_devices = 0;
    for (const auto& [key, all] : operators_)
      (on_device(static_cast<Kind>(key.second)) ? on_devices : on_host) += mean(all.self);
    for (const auto& [key, all] : operators_) {
      OperatorSpread one{.name = key.first, .kind = static_cast<Kind>(key.second)};
      one.calls = mean(all.calls);
      one.self_seconds = spread(all.self);
      one.total_seconds = spread(all.total);
      const double whole = on_device(one.kind) ? on_devices : on_host;
      one.share = whole > 0 ? mean(all.self) / whole : 0;
      one.flops = mean(all.flops);
      if (mean(all.total) > 0 && (!on_device_ || on_device(one.kind)))
        one.flops_per_second = one.flops / mean(all.total);
      one.bytes = mean(all.bytes);
      report.operators.push_back(std::move(one));
    }
    for (const auto& [key, all] : syncs_)
      report.host_syncs.push_back({.name = key.first,
                                   .inside = key.second,
                                   .calls = mean(all.calls),
                                   .seconds = spread(all.self)});
    std::ranges::stable_sort(report.operators, std::greater(),
                             [](const OperatorSpread& one) { return one.self_seconds.mean; });
    std::ranges::stable_sort(report.host_syncs, std::greater(),
                             [](const HostSyncSpread& one) { return one.seconds.mean; });
    report.operators.resize(std::min(report.operators.size(), shown_operators));
    report.host_syncs.resize(std::min(report.host_syncs.size(), shown_syncs));
    return report;
  }

 private:
  using Key = std::pair<std::string, int>;  // name and kind

  [[nodiscard]] telemetry::Spread spread(const std::vector<double>& values) const {
    telemetry::Spread spread = telemetry::spread_of(values);
    for (int* const rank : {&spread.min_rank, &spread.max_rank})
      if (*rank >= 0) *rank = ranks_[static_cast<size_t>(*rank)];
    return spread;
  }

  std::vector<int> ranks_;  // that recorded
  std::map<Key, Quantities> operators_;
  std::map<std::pair<std::string, std::string>, Quantities> syncs_;  // by name and what is around
  int64_t dropped_ = 0;
  bool on_device_ = false;  // any rank computes on one
};

}  // namespace

std::string packed_operators(const OperatorTable* table, int64_t dropped) {
  if (table == nullptr) return "";
  Json json{{"dropped", dropped},
            {"on_device", table->on_device},
            {"operators", Json::array()},
            {"host_syncs", Json::array()}};
  for (size_t i = 0; i < std::min(told_operators, table->operators.size()); ++i) {
    const OperatorRow& row = table->operators[i];
    json["operators"].push_back({row.name, static_cast<int>(row.kind), row.calls, row.self_seconds,
                                 row.total_seconds, row.flops, row.bytes});
  }
  for (size_t i = 0; i < std::min(told_syncs, table->host_syncs.size()); ++i) {
    const HostSyncRow& row = table->host_syncs[i];
    json["host_syncs"].push_back({row.name, row.inside, row.calls, row.seconds});
  }
  return dump(json);
}

std::optional<OperatorReport> merged_operators(std::span<const std::string> ranks) {
  std::vector<int> recorded;
  for (size_t r = 0; r < ranks.size(); ++r)
    if (!ranks[r].empty()) recorded.push_back(static_cast<int>(r));
  if (recorded.empty()) return {};
  Reduction reduction(recorded);
  for (size_t i = 0; i < recorded.size(); ++i)
    reduction.add(i, Json::parse(ranks[static_cast<size_t>(recorded[i])]));
  return reduction.report();
}

std::optional<OperatorReport> reduce_operators(comm::Communicator& ranks, const OperatorTable* mine,
                                               int64_t dropped) {
  const std::vector<std::string> told = ranks.gather_bytes(packed_operators(mine, dropped), 0);
  if (ranks.rank() != 0) return {};
  return merged_operators(told);
}

}  // namespace trireme::report
