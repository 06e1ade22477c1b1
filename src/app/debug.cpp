#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/commands.h"

#include <trireme/core/error.h>
#include <trireme/debug/control.h>
#include <trireme/debug/run_status.h>
#include <trireme/guard/run_lock.h>
#include <trireme/report/run_folder.h>
#include <trireme/report/run_paths.h>

namespace trireme::app {
namespace {

using Json = nlohmann::ordered_json;

/// In the order of debug::Switch.
constexpr std::array<std::string_view, debug::switch_count> meanings{
    "which operation made a NaN in backward, and where in forward it belongs",
    "operators by self time, and a trace of all ranks",
    "the same for TensorBoard's profiler plugin",
    "memory by unit and kind, and what grows",
    "norms, zeros, NaN and update ratio of every parameter",
    "shapes, types and statistics of every unit's output",
    "the same of gradients, in the order of backward",
    "tensors that lie on another device than they should",
    "types, overflows, underflows and the loss scale",
    "waiting, loading time and contents of batches",
    "samples that each evaluation saw, and its figures",
    "what early stopping decides, and why",
    "learning rate of every step, against its schedule"};

struct Arguments {
  std::string run;
  std::vector<std::string> names;
  std::vector<int> ranks;
  int64_t steps = 0;
  int64_t every_steps = 1;
  double timeout_seconds = 60;
  bool json = false;
};

std::string help_text() {
  std::string text = "Switches:\n";
  for (size_t i = 0; i < debug::switch_count; ++i)
    text += fmt::format("  {:<21} {}\n", debug::switch_names[i], meanings[i]);
  return text +
         "\nExamples:\n"
         "  trireme debug runs/gpt enable gradient_norms forward_pass --ranks 3,5 --steps 20\n"
         "  trireme debug runs/gpt status\n"
         "  trireme debug runs/gpt disable                 everything\n"
         "A run acts at its next step boundary, on all ranks at once. Profilers record 10 steps unless told. Records: RUN/logs/debug/, digests: RUN/debug.jsonl";
}

class RunFolder {
 public:
  explicit RunFolder(const std::string& path) : paths_{path} {
    std::error_code unreadable;
    const auto is_there = [&](const std::filesystem::path& file) { return std::filesystem::exists(file, unreadable); };
    if (!is_there(paths_.config()) && !is_there(paths_.lock()))
      throw Error(ErrorKind::input_missing, fmt::format("{} is no run folder: it has neither config.yaml nor run.lock", path),
                  "give the run.dir of a run");
  }

  [[nodiscard]] const report::RunPaths& paths() const { return paths_; }
  [[nodiscard]] debug::ControlPaths control() const { return {paths_.control()}; }
  [[nodiscard]] std::string shown(const std::string& inside) const { return (paths_.root / inside).string(); }

  /// Empty if a run lives here, else why none does.
  [[nodiscard]] std::string why_dead() const {
    const auto [there, owner, verdict] = guard::see_lock(paths_.lock());
    if (!there) return "it has no run.lock";
    if (!owner) return "its run.lock is damaged";
    return verdict.live ? "" : fmt::format("run.lock names process {} on {}, but {}", owner->pid, owner->host, verdict.why);
  }
  void require_live() const {
    if (const std::string why = why_dead(); !why.empty())
      throw Error(ErrorKind::environment, fmt::format("no run is alive in {}: {}", paths_.root.string(), why),
                  "start it with debug.enable=[...], or wait until it has started");
  }

 private:
  report::RunPaths paths_;
};

void print_files(const RunFolder& run, const debug::RunStatus::On& on) {
  if (on.ranks.empty()) fmt::print("  {}\n", run.shown("logs/debug/" + on.name + ".rank*.jsonl"));
  for (const int rank : on.ranks) fmt::print("  {}\n", run.shown(fmt::format("logs/debug/{}.rank{:03}.jsonl", on.name, rank)));
}

void print_switch(const debug::RunStatus::On& on) {
  fmt::print("{} is on since step {} on {}", on.name, on.since_step, debug::ranks_text(on.ranks));
  if (on.until_step) fmt::print(" until step {}", *on.until_step);
  if (!on.origin.empty()) fmt::print(" ({})", on.origin);
  fmt::print("\n");
  for (const auto& [rank, why] : on.failed_ranks) fmt::print("  off on rank {}, where it failed: {}\n", rank, why);
}

void print_failed(const debug::RunStatus::Failed& failed) {
  fmt::print("{}, which was on since step {}, is off:\n", failed.name, failed.since_step);
  for (const auto& [rank, why] : failed.ranks) fmt::print("  failed on rank {}: {}\n", rank, why);
}

/// A run that has ended leaves its last status behind; a new attempt tells its own at its first step.
int status(const Arguments& arguments) {
  const RunFolder run(arguments.run);
  const std::optional<std::string> text = debug::read_status(run.control());
  const debug::RunStatus status = text ? debug::parse_status(*text) : debug::RunStatus{};
  const std::string dead = run.why_dead();
  const int64_t attempt = report::last_attempt(run.paths());
  std::string nothing;
  if (!dead.empty())
    nothing = "no run is alive here: " + dead;
  else if (text)
    nothing = debug::why_nothing_is_on(status, attempt);
  if (arguments.json) {
    Json json = text ? Json::parse(*text) : Json{{"schema", 1}, {"switches", Json::object()}, {"answers", Json::object()}};
    json["running"] = nothing.empty();
    if (!nothing.empty()) {
      json["switches"] = Json::object();
      json["why"] = nothing;
    }
    fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else if (!nothing.empty()) {
    fmt::print("no debug switch is on: {}\n", nothing);
  } else if (status.switches.empty()) {
    fmt::print("no debug switch is on\n");
  } else {
    for (const debug::RunStatus::On& on : status.switches) print_switch(on);
  }
  if (!arguments.json && status.attempt >= attempt)
    for (const debug::RunStatus::Failed& failed : status.failed) print_failed(failed);
  return 0;
}

void print_enabled(const RunFolder& run, const debug::Request& request, const debug::Answer& answer) {
  const debug::RunStatus status = debug::parse_status(debug::read_status(run.control()).value_or("{}"));
  bool tools = false;
  bool profilers = false;
  for (const debug::Switch which : request.switches) {
    const debug::RunStatus::On* const on = status.find(name_of(which));
    if (on == nullptr) continue;  // off again already
    print_switch(*on);
    if (!debug::is_profiler(which)) print_files(run, *on);
    (debug::is_profiler(which) ? profilers : tools) = true;
  }
  if (!tools && !profilers) fmt::print("{}\n", answer.text);
  if (tools) fmt::print("findings and digests of all ranks: {}\n", run.shown("debug.jsonl"));
  if (profilers)
    fmt::print("what a profiler recorded comes when it goes off{}: {}\n",
               request.steps ? "" : fmt::format(", after {} steps unless told", debug::default_profile_steps), run.shown("operators.json"));
}

/// What became of a request that the run did not answer.
std::string fate_of(const std::filesystem::path& file) {
  std::error_code unreadable;
  if (std::filesystem::exists(file, unreadable))
    return fmt::format("the request waits for the next start; if it shall not, remove it: rm {}", file.string());
  return "the run took the request and ended before it applied it: ask again when it runs";
}

int ask(const Arguments& arguments, debug::Request request) {
  request.switches = debug::switches_named(arguments.names, ErrorKind::usage);
  request.origin = "command line";
  const RunFolder run(arguments.run);
  run.require_live();
  const std::string id = debug::submit(run.control(), request);
  std::string dead;
  const auto timeout = std::chrono::milliseconds(static_cast<int64_t>(arguments.timeout_seconds * 1000));
  const std::optional<debug::Answer> answer =
      debug::wait_for_answer(run.control(), id, timeout, [&] { return (dead = run.why_dead()).empty(); });
  if (!answer && !dead.empty())
    throw Error(ErrorKind::environment, fmt::format("the run ended before it answered: {}", dead),
                fate_of(run.control().requests() / (id + ".json")));
  if (!answer)
    throw Error(ErrorKind::environment,
                fmt::format("the run has not answered within {} s; the request stays queued", arguments.timeout_seconds),
                "a long step or a checkpoint may hold it up: see 'trireme debug RUN status' later, or wait longer with --timeout");
  if (!answer->accepted) throw Error(ErrorKind::configuration, "the run refused: " + answer->text);
  if (arguments.json)
    fmt::print("{}\n", Json{{"id", id}, {"accepted", true}, {"text", answer->text}}.dump());
  else if (request.action == debug::Request::Action::enable)
    print_enabled(run, request, *answer);
  else
    fmt::print("{}\n", answer->text);
  return 0;
}

int enable(const Arguments& arguments) {
  debug::Request request;
  request.ranks = arguments.ranks;
  std::ranges::sort(request.ranks);
  request.ranks.erase(std::unique(request.ranks.begin(), request.ranks.end()), request.ranks.end());
  if (arguments.steps > 0) request.steps = arguments.steps;
  request.every_steps = arguments.every_steps;
  return ask(arguments, std::move(request));
}

int disable(const Arguments& arguments) {
  debug::Request request;
  request.action = debug::Request::Action::disable;
  return ask(arguments, std::move(request));
}

}  // namespace

void add_debug(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("debug", "Switches debugging tools of a running job on and off");
  command->require_subcommand(1);
  command->footer(help_text());
  auto arguments = std::make_shared<Arguments>();
  command->add_option("run", arguments->run, "run folder")->required();
  const auto run_as = [&action, arguments](int (*what)(const Arguments&)) {
    return [&action, arguments, what] { action = [arguments, what] { return what(*arguments); }; };
  };
  const auto add_timeout = [&arguments](CLI::App* one) {
    one->add_option("--timeout", arguments->timeout_seconds, "seconds to wait for the run's answer, 60 if not given")
        ->check(CLI::NonNegativeNumber);
    one->add_flag("--json", arguments->json, "print the answer as JSON");
  };

  CLI::App* on = command->add_subcommand("enable", "Switches on; what is on already begins anew");
  on->add_option("names", arguments->names, "switches, see 'trireme debug --help'")->required();
  on->add_option("--ranks", arguments->ranks, "where, e.g. 3,5; nothing: on all")->delimiter(',')
      ->allow_extra_args(false)->check(CLI::Range(0, 999999));
  on->add_option("--steps", arguments->steps, fmt::format("off again after so many; nothing: when it is disabled, profilers after {}", debug::default_profile_steps))
      ->check(CLI::Range(int64_t{1}, debug::most_steps));
  on->add_option("--every", arguments->every_steps, "tools that read whole tensors look at every n-th step, 1 if not given")
      ->check(CLI::Range(int64_t{1}, debug::most_steps));
  add_timeout(on);
  on->footer("\nExample:\n  trireme debug runs/gpt enable gradient_norms forward_pass --ranks 3,5 --steps 20");
  on->callback(run_as(enable));

  CLI::App* off = command->add_subcommand("disable", "Switches off: these, or all");
  off->add_option("names", arguments->names, "switches; nothing: all");
  add_timeout(off);
  off->footer("\nExample:\n  trireme debug runs/gpt disable gradient_norms");
  off->callback(run_as(disable));

  CLI::App* state = command->add_subcommand("status", "Prints what is on, where and since when");
  state->add_flag("--json", arguments->json, "print the status as JSON");
  state->footer("\nExample:\n  trireme debug runs/gpt status --json");
  state->callback(run_as(status));
}

}  // namespace trireme::app
