#include <trireme/report/operator_table.h>

#include "json.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme::report {
namespace {

/// 950 ns, 12.3 us, 4.56 ms, 1.23 s
std::string duration(double seconds) {
  if (seconds >= 1) return fmt::format("{:.3g} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3g} ms", 1e3 * seconds);
  if (seconds >= 1e-6) return fmt::format("{:.3g} us", 1e6 * seconds);
  return fmt::format("{:.3g} ns", 1e9 * seconds);
}

std::string shortened(const std::string& text, size_t room) {
  return text.size() <= room ? text : text.substr(0, room - 3) + "...";
}

}  // namespace

std::string operators_json(const OperatorReport& report, std::span<const std::string> hosts,
                           int64_t attempt) {
  Json json{{"schema", 1},
            {"attempt", attempt},
            {"first_step", report.first_step},
            {"last_step", report.last_step},
            {"ranks", report.ranks},
            {"dropped", report.dropped},
            {"operators", Json::array()},
            {"host_syncs", Json::array()}};
  for (const OperatorSpread& one : report.operators)
    json["operators"].push_back(
        {{"name", one.name},
         {"kind", telemetry::name_of(one.kind)},
         {"calls", one.calls},
         {"self_seconds", spread_json(one.self_seconds, hosts)},
         {"total_seconds", spread_json(one.total_seconds, hosts)},
         {"share", one.share},
         {"flops", one.flops},
         {"flops_per_second", one.flops_per_second ? Json(*one.flops_per_second) : Json()},
         {"bytes", one.bytes}});
  for (const HostSyncSpread& one : report.host_syncs)
    json["host_syncs"].push_back({{"name", one.name},
                                  {"inside", one.inside},
                                  {"calls", one.calls},
                                  {"seconds", spread_json(one.seconds, hosts)}});
  return dump(json, 1) + "\n";
}

std::string operators_text(const OperatorReport& report, size_t rows) {
  std::string text = fmt::format("{:<52} {:>8} {:>7} {:>10} {:>10} {:>10} {:>9}\n", "operation",
                                 "calls", "share", "self", "total", "GFLOP/s", "MiB");
  for (size_t i = 0; i < std::min(rows, report.operators.size()); ++i) {
    const OperatorSpread& one = report.operators[i];
    text += fmt::format("{:<52} {:>8.0f} {:>6.1f}% {:>10} {:>10} {:>10} {:>9.1f}\n",
                        shortened(one.name, 52), one.calls, 100 * one.share,
                        duration(one.self_seconds.mean), duration(one.total_seconds.mean),
                        one.flops > 0 && one.flops_per_second
                            ? fmt::format("{:.1f}", 1e-9 * *one.flops_per_second)
                            : "",
                        one.bytes / (1 << 20));
  }
  if (!report.host_syncs.empty())
    text += fmt::format("{:<52} {:>8} {:>29}  inside\n", "the host waited in", "calls", "seconds");
  for (size_t i = 0; i < std::min(rows, report.host_syncs.size()); ++i) {
    const HostSyncSpread& one = report.host_syncs[i];
    text += fmt::format("{:<52} {:>8.0f} {:>29}  {}\n", shortened(one.name, 52), one.calls,
                        duration(one.seconds.mean), one.inside);
  }
  if (report.dropped > 0)
    text += fmt::format(
        "{} operations are missing: there was no room for them (telemetry.profile.max_events)\n",
        report.dropped);
  return text;
}

}  // namespace trireme::report
