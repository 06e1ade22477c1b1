#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "app/commands.h"
#include "app/device_checks.h"
#include "app/doctor_text.h"
#include "app/outcome.h"

#include <trireme/comm/device_communicator.h>
#include <trireme/core/error.h>
#include <trireme/device/host.h>
#include <trireme/device/select.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::app {
namespace {

struct Options {
  bool as_json = false;
  bool needs_gpu = false;
  std::string device = "auto";
};

/// What keeps the ranks from computing as they were asked to.
struct Problem {
  std::string message;
  std::string hint;
};

nlohmann::ordered_json disk(const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (error) return {{"folder", folder.string()}, {"error", error.message()}};
  return {{"folder", std::filesystem::absolute(folder).string()}, {"free_bytes", space.available}};
}

/// With `auto` also one that nothing shows a device for: whether it could be loaded is worth knowing.
std::string back_end_to_try(const Options& options) {
  if (const std::string refusal = device::type_refusal(options.device); !refusal.empty())
    throw Error(ErrorKind::usage, refusal, "say --device auto, cpu, cuda, or the name of an installed back end");
  const std::string asked = device::back_end_for({.type = options.device}, device::look_for_gpus());
  if (!asked.empty() || options.device == "cpu") return asked;
  return options.needs_gpu || device::is_installed("cuda") ? "cuda" : "";
}

bool nobody_has(const std::string& text, comm::World& world) {
  const std::vector<std::string> all = world.all()->all_gather_bytes(text);
  return std::all_of(all.begin(), all.end(), [](const std::string& one) { return one.empty(); });
}

/// Runs `check` and makes a Problem of what it throws.
template <class F>
Problem problem_of(nlohmann::ordered_json& report, F&& check) {
  try {
    return check();
  } catch (...) {
    const Error error = error_in_flight();
    report["device_error"] = error.message();
    return {error.message(), error.hint()};
  }
}

/// All ranks call, each has a device. Adds what is found to `report`.
Problem examine_devices(device::Backend& backend, const std::string& name, comm::World& world, nlohmann::ordered_json& report) {
  c10::Device device(c10::DeviceType::CPU);
  const Problem own = problem_of(report, [&]() -> Problem {
    device = device::select({.type = name}, world.ranks()[static_cast<size_t>(world.rank())].local_rank);
    report["device_check"] = check_device(backend, device);
    if (report["device_check"]["right"].get<bool>()) return {};
    return {"a product on " + device.str() + " is wrong", "take this GPU out of service"};
  });
  // A rank that is missing would keep the others waiting.
  if (!nobody_has(own.message, world)) return own;
  return problem_of(report, [&]() -> Problem {
    const comm::CommunicatorPtr ranks = comm::make_device_communicator(world.all(), device);
    report["device_all_reduce"] = check_all_reduce(*ranks, device);
    if (report["device_all_reduce"]["right"].get<bool>()) return {};
    return {"an all-reduce between the devices gave a wrong sum", "check the links between them"};
  });
}

int examine(const Options& options) {
  const std::string name = back_end_to_try(options);
  const FoundBackend found = find_backend(name);
  const std::string toolkit = launched_rank() == 0 ? toolkit_release() : "";
  const std::unique_ptr<comm::World> world = comm::join_world();
  const comm::RankInfo& me = world->ranks()[static_cast<size_t>(world->rank())];

  nlohmann::ordered_json mine = nlohmann::ordered_json::parse(device::device_info());
  mine["rank"] = world->rank();
  mine["pid"] = me.pid;
  mine["local_rank"] = me.local_rank;
  if (!name.empty()) mine["back_end"] = found.report;
  nlohmann::ordered_json all_reduce = check_all_reduce(*world->all(), c10::Device(c10::DeviceType::CPU));
  Problem problem;
  if (!all_reduce["right"].get<bool>()) problem = {"an all-reduce over all ranks gave a wrong sum", "check the MPI installation"};
  if (options.needs_gpu && !found.problem.empty()) problem = {found.problem, found.hint};

  if (nobody_has(found.problem, *world)) {
    const Problem seen = examine_devices(*found.backend, name, *world, mine);
    if (problem.message.empty()) problem = seen;
  }

  const std::vector<std::string> everyone = world->all()->gather_bytes(mine.dump(), 0);
  if (world->rank() == 0) {
    nlohmann::ordered_json report = {{"trireme", TRIREME_VERSION}, {"launcher", world->launch().launcher}, {"ranks", world->size()},
                                     {"all_reduce", all_reduce}, {"disk", disk(".")}};
    if (!toolkit.empty()) report["toolkit"] = toolkit;
    for (const std::string& one : everyone) report["hosts"].push_back(nlohmann::ordered_json::parse(one));
    fmt::print("{}", options.as_json ? report.dump(2) + "\n" : doctor_text(report));
  }
  // All end with the same code; rank 0 says why, for the first rank that has something to say.
  const std::vector<std::string> messages = world->all()->all_gather_bytes(problem.message);
  const std::vector<std::string> hints = world->all()->all_gather_bytes(problem.hint);
  const int rank = world->rank();
  world->finalize();
  for (size_t r = 0; r < messages.size(); ++r) {
    if (messages[r].empty()) continue;
    if (rank == 0) throw Error(ErrorKind::environment, fmt::format("rank {}: {}", r, messages[r]), hints[r]);
    return static_cast<int>(ErrorKind::environment);
  }
  return 0;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor", "Says what this machine has, and whether the ranks and their devices reach each other");
  command->footer(
      "\nExamples:\n  trireme doctor\n  mpirun -np 4 trireme doctor --json\n"
      "  mpirun -np 8 trireme doctor --gpu        ends with code 12 unless every rank has a GPU that computes right");
  auto options = std::make_shared<Options>();
  command->add_flag("--json", options->as_json, "one JSON object");
  command->add_flag("--gpu", options->needs_gpu, "a GPU must be there and work");
  command->add_option("--device", options->device, "as device.type: auto, cpu, cuda, or another back end that is installed");
  command->callback([&action, options] { action = [options] { return examine(*options); }; });
}

}  // namespace trireme::app
