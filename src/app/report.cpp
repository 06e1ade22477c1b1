#include <CLI/CLI.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/commands.h"
#include "app/report_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/guard/run_lock.h>
#include <trireme/report/comparison.h>
#include <trireme/report/hta.h>
#include <trireme/report/html.h>
#include <trireme/report/run_records.h>
#include <trireme/report/scaling.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run;
  std::string html;
  std::string hta;
  std::string other;
  std::vector<std::string> scaling;
  double tolerance = 0.05;
  bool json = false;
};

int compare(const Arguments& arguments) {
  const report::Comparison comparison = report::compare_runs({arguments.run}, {arguments.other}, arguments.tolerance);
  fmt::print("{}", arguments.json ? report::comparison_json(comparison) + "\n" : report::comparison_text(comparison));
  return comparison.regressed ? 1 : 0;
}

int take_apart(const Arguments& arguments) {
  const int ranks = report::write_hta(report::RunPaths{arguments.run}.root / "trace.json.gz", arguments.hta);
  if (arguments.json)
    fmt::print("{}\n", nlohmann::json{{"schema", 1}, {"folder", arguments.hta}, {"ranks", ranks}}.dump());
  else
    fmt::print("{} file{} in {}, one a rank\n", ranks, ranks == 1 ? "" : "s", arguments.hta);
  return 0;
}

int show_scaling(const Arguments& arguments, const std::vector<std::string>& folders) {
  std::vector<report::ScalingRun> runs;
  for (const std::string& folder : folders) runs.push_back(report::read_scaling_run({folder}));
  const report::Scaling scaling = report::scaling_of(std::move(runs));
  fmt::print("{}", arguments.json ? report::scaling_json(scaling) : report::scaling_text(scaling));
  return 0;
}

/// The page, beside what is printed: a folder that cannot be written to is no reason not to print it.
fs::path write_page(const Arguments& arguments, const std::string& records) {
  const fs::path file = arguments.html.empty() ? fs::path(arguments.run) / "report.html" : fs::path(arguments.html);
  try {
    report::write_html(file, records);
    return file;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage || !arguments.html.empty()) throw;
    log::warning("{}", error.message());
    return {};
  }
}

int show(const Arguments& arguments) {
  const report::RunPaths paths{arguments.run};
  const std::string records = report::run_records(paths, guard::see_lock(paths.lock()).verdict.live);
  const fs::path page = write_page(arguments, records);
  if (arguments.json) {
    fmt::print("{}\n", records);
  } else {
    fmt::print("{}", report_text(nlohmann::json::parse(records)));
    if (!page.empty()) fmt::print("\npage: {}\n", page.string());
  }
  return 0;
}

int report_run(const Arguments& arguments) {
  std::vector<std::string> folders = arguments.scaling;
  if (!arguments.run.empty()) folders.insert(folders.begin(), arguments.run);
  for (const std::string& folder : folders)
    if (!fs::is_directory(folder))
      throw Error(ErrorKind::input_missing, folder + " is no run folder: No such directory",
                  "give the folder that run.dir of the configuration names");
  if (!arguments.scaling.empty()) return show_scaling(arguments, folders);
  if (!arguments.other.empty()) return compare(arguments);
  if (!arguments.hta.empty()) return take_apart(arguments);
  return show(arguments);
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("report", "Says what a run's time and memory went to, and writes its report.html");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("run", arguments->run, "run folder; of a run that goes on, or was killed, too");
  CLI::Option* html = command->add_option("--html", arguments->html, "write the page here instead of RUN/report.html");
  command->add_flag("--json", arguments->json, "print one JSON object");
  CLI::Option* hta = command->add_option("--hta", arguments->hta, "take trace.json.gz apart into DIR: one file a rank, for Holistic Trace Analysis");
  CLI::Option* other = command->add_option("--compare", arguments->other, "compare with this run, the baseline");
  command->add_option("--tolerance", arguments->tolerance, "of --compare: a change that counts, 0.05 for 5 %")
      ->check(CLI::Range(0.0, 10.0))
      ->needs(other);
  CLI::Option* scaling = command->add_option("--scaling", arguments->scaling, "how runs on different numbers of ranks scale: all of these, and RUN if it is given");
  hta->excludes(html)->excludes(other)->excludes(scaling);
  other->excludes(html)->excludes(scaling);
  scaling->excludes(html);
  command->footer(
      "\nThe page is one file that needs no network. Exit code of --compare: 0 if nothing is worse, 1 if something regressed.\n"
      "Examples:\n  trireme report runs/quickstart\n  trireme report runs/gpt --html gpt.html\n  trireme report runs/gpt --hta traces/\n"
      "  trireme report runs/new --compare runs/baseline --tolerance 0.1\n"
      "  trireme report --scaling runs/ranks1 runs/ranks2 runs/ranks8");
  command->callback([&action, arguments] {
    if (arguments->run.empty() && arguments->scaling.empty()) throw CLI::RequiredError("run, or --scaling with its runs,");
    action = [arguments] { return report_run(*arguments); };
  });
}

}  // namespace trireme::app
