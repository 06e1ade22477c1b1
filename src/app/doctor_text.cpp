#include "app/doctor_text.h"

#include <fmt/format.h>

namespace trireme::app {
namespace {

using Json = nlohmann::ordered_json;

double gib(const Json& bytes) { return bytes.get<double>() / (1 << 30); }
std::string verdict(const Json& right) { return right.get<bool>() ? "right" : "WRONG"; }

std::string reduced(const Json& one) {
  return fmt::format("{:.2f} ms, {}", one["milliseconds"].get<double>(), verdict(one["right"]));
}

/// Which devices do not reach each other: that is what needs attention.
std::string peers(const Json& reaches) {
  std::string apart;
  size_t pairs = 0, missing = 0;
  for (size_t from = 0; from < reaches.size(); ++from)
    for (size_t to = from + 1; to < reaches.size(); ++to, ++pairs)
      if (!reaches[from][to].get<bool>() || !reaches[to][from].get<bool>()) {
        apart += fmt::format(" {}-{}", from, to);
        ++missing;
      }
  return missing == pairs ? "no pair" : missing == 0 ? "all pairs" : "all pairs but" + apart;
}

std::string device_line(size_t index, const Json& one) {
  std::string text = fmt::format("  device {}: {}, capability {}, {:.1f} GiB, {} multiprocessors", index, one["name"].get<std::string>(),
                                 one["capability"].get<std::string>(), gib(one["memory_bytes"]), one["multiprocessors"].get<int>());
  if (!one["near_cores"].get<std::string>().empty()) text += ", near cores " + one["near_cores"].get<std::string>();
  const Json& sensors = one["sensors"];
  if (!sensors["utilisation"].is_null()) text += fmt::format(", {:.0f}% busy", sensors["utilisation"].get<double>() * 100);
  if (!sensors["watts"].is_null()) text += fmt::format(", {:.0f} W", sensors["watts"].get<double>());
  if (!sensors["celsius"].is_null()) text += fmt::format(", {:.0f} C", sensors["celsius"].get<double>());
  for (const Json& reason : sensors["throttled"]) text += ", held down: " + reason.get<std::string>();
  return text + "\n";
}

std::string back_end_text(const Json& back_end) {
  const auto name = back_end["name"].get<std::string>();
  if (back_end.contains("error")) return fmt::format("  back end {}: {}\n", name, back_end["error"].get<std::string>());
  std::string text = fmt::format("  back end {}:", name);
  const char* separator = " ";
  for (const auto& [library, version] : back_end["versions"].items()) {
    text += fmt::format("{}{} {}", separator, library, version.get<std::string>());
    separator = ", ";
  }
  text += back_end["devices"].empty() ? "\n  no device\n" : "\n";
  for (size_t i = 0; i < back_end["devices"].size(); ++i) text += device_line(i, back_end["devices"][i]);
  if (back_end["devices"].size() > 1) text += "  reach each other's memory: " + peers(back_end["peer_access"]) + "\n";
  return text;
}

std::string check_text(const Json& check) {
  std::string rates;
  for (const auto& [type, rate] : check["teraflops"].items()) rates += fmt::format(", {} {:.3g} TFLOP/s", type, rate.get<double>());
  const Json& copies = check["copies"];
  return fmt::format("  computes on {}: products {}{}; copies on it {:.3g}, to it {:.3g}, from it {:.3g} GB/s\n",
                     check["device"].get<std::string>(), verdict(check["right"]), rates, copies["on_device_gb_per_s"].get<double>(),
                     copies["to_device_gb_per_s"].get<double>(), copies["to_host_gb_per_s"].get<double>());
}

std::string rank_text(const Json& rank) {
  std::string text = fmt::format("rank {}: {}, {}, cores {}, {:.1f} GiB of {:.1f} GiB available, would compute on {}\n",
                                 rank["rank"].get<int>(), rank["host"].get<std::string>(), rank["cpu"].get<std::string>(),
                                 rank["core_list"].get<std::string>(), gib(rank["available_bytes"]), gib(rank["memory_bytes"]),
                                 rank["device"].get<std::string>());
  if (rank.contains("back_end")) text += back_end_text(rank["back_end"]);
  if (rank.contains("device_check")) text += check_text(rank["device_check"]);
  if (rank.contains("device_all_reduce")) text += "  all-reduce of 4 MiB between the devices: " + reduced(rank["device_all_reduce"]) + "\n";
  if (rank.contains("device_error")) text += "  " + rank["device_error"].get<std::string>() + "\n";
  return text;
}

}  // namespace

std::string doctor_text(const Json& report) {
  std::string text = fmt::format("trireme {}, {} rank{} started by: {}\n", report["trireme"].get<std::string>(), report["ranks"].get<int>(),
                                 report["ranks"].get<int>() == 1 ? "" : "s", report["launcher"].get<std::string>());
  for (const Json& rank : report["hosts"]) text += rank_text(rank);
  text += "all-reduce of 4 MiB: " + reduced(report["all_reduce"]) + "\n";
  if (report.contains("toolkit")) text += "CUDA toolkit: " + report["toolkit"].get<std::string>() + "\n";
  const Json& disk = report["disk"];
  text += disk.contains("error") ? fmt::format("disk: {}: {}\n", disk["folder"].get<std::string>(), disk["error"].get<std::string>())
                                 : fmt::format("disk: {:.1f} GiB free below {}\n", gib(disk["free_bytes"]), disk["folder"].get<std::string>());
  return text;
}

}  // namespace trireme::app
