#include <CLI/CLI.hpp>

#include <cstdio>

#include <filesystem>
#include <memory>

#include "app/commands.h"

#include <trireme/comm/world.h>
#include <trireme/core/error.h>
#include <trireme/device/host.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ATen/ops/full.h>

namespace trireme::app {
namespace {

/// All-reduces a known vector; the sum proves that every rank took part.
nlohmann::json probe_all_reduce(comm::World& world) {
  constexpr int64_t elements = 1 << 20;
  const at::Tensor values = at::full({elements}, static_cast<double>(world.rank() + 1), at::kFloat);
  const comm::WorkPtr work = world.all()->all_reduce(values);
  work->wait();
  const double expected = 0.5 * world.size() * (world.size() + 1);
  const bool right = values.const_data_ptr<float>()[elements - 1] == static_cast<float>(expected);
  return {{"bytes", elements * 4}, {"milliseconds", static_cast<double>(work->busy_ns()) * 1e-6}, {"right", right}};
}

nlohmann::json disk(const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (error) return {{"folder", folder.string()}, {"error", error.message()}};
  return {{"folder", std::filesystem::absolute(folder).string()}, {"free_bytes", space.available}};
}

int examine(bool as_json) {
  const std::unique_ptr<comm::World> world = comm::join_world();
  nlohmann::json mine = nlohmann::json::parse(device::device_info());
  mine["rank"] = world->rank();
  mine["pid"] = world->ranks()[static_cast<size_t>(world->rank())].pid;
  mine["local_rank"] = world->ranks()[static_cast<size_t>(world->rank())].local_rank;
  const nlohmann::json all_reduce = probe_all_reduce(*world);
  const std::vector<std::string> everyone = world->all()->gather_bytes(mine.dump(), 0);
  if (world->rank() == 0) {
    nlohmann::json report = {{"trireme", TRIREME_VERSION}, {"launcher", world->launch().launcher}, {"ranks", world->size()},
                             {"all_reduce", all_reduce}, {"disk", disk(".")}};
    for (const std::string& one : everyone) report["hosts"].push_back(nlohmann::json::parse(one));
    if (as_json) {
      fmt::print("{}\n", report.dump(2));
    } else {
      fmt::print("trireme {}, {} rank{} started by: {}\n", TRIREME_VERSION, world->size(), world->size() == 1 ? "" : "s",
                 world->launch().launcher);
      for (const auto& rank : report["hosts"]) fmt::print("rank {}: {}\n", rank["rank"].get<int>(), rank.dump());
      fmt::print("all-reduce of 4 MiB: {:.2f} ms, {}\n", all_reduce["milliseconds"].get<double>(),
                 all_reduce["right"].get<bool>() ? "right" : "WRONG");
      fmt::print("disk: {}\n", report["disk"].dump());
    }
    if (!all_reduce["right"].get<bool>())
      throw Error(ErrorKind::environment, "an all-reduce over all ranks gave a wrong sum", "check the MPI installation");
  }
  world->finalize();
  return 0;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor", "Says what this machine has, and whether the ranks reach each other");
  command->footer("\nExamples:\n  trireme doctor\n  mpirun -np 4 trireme doctor --json");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "one JSON object");
  command->callback([&action, as_json] { action = [as_json] { return examine(*as_json); }; });
}

}  // namespace trireme::app
