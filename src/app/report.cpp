#include <CLI/CLI.hpp>

#include <filesystem>
#include <memory>

#include "app/commands.h"
#include "app/report_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/report/comparison.h>
#include <trireme/report/hta.h>
#include <trireme/report/html.h>
#include <trireme/report/run_records.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run;
  std::string html;
  std::string hta;
  std::string other;
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

/// The page, beside what is printed: a folder that cannot be written to is no reason not to print it.
fs::path write_page(const Arguments& arguments) {
  const report::RunPaths paths{arguments.run};
  const fs::path file = arguments.html.empty() ? paths.root / "report.html" : fs::path(arguments.html);
  try {
    report::write_html(paths, file);
    return file;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage || !arguments.html.empty()) throw;
    log::warning("{}", error.message());
    return {};
  }
}

int show(const Arguments& arguments) {
  const std::string records = report::run_records({arguments.run});
  const fs::path page = write_page(arguments);
  if (arguments.json) {
    fmt::print("{}\n", records);
  } else {
    fmt::print("{}", report_text(nlohmann::json::parse(records)));
    if (!page.empty()) fmt::print("\npage: {}\n", page.string());
  }
  return 0;
}

int report_run(const Arguments& arguments) {
  if (!fs::is_directory(arguments.run))
    throw Error(ErrorKind::input_missing, arguments.run + " is no run folder: No such directory",
                "give the folder that run.dir of the configuration names");
  if (!arguments.other.empty()) return compare(arguments);
  if (!arguments.hta.empty()) return take_apart(arguments);
  return show(arguments);
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("report", "Says what a run's time and memory went to, and writes its report.html");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("run", arguments->run, "run folder; of a run that goes on, or was killed, too")->required();
  CLI::Option* html = command->add_option("--html", arguments->html, "write the page here instead of RUN/report.html");
  command->add_flag("--json", arguments->json, "print one JSON object");
  CLI::Option* hta = command->add_option("--hta", arguments->hta, "take trace.json.gz apart into DIR: one file a rank, for Holistic Trace Analysis");
  CLI::Option* other = command->add_option("--compare", arguments->other, "compare with this run, the baseline");
  command->add_option("--tolerance", arguments->tolerance, "of --compare: a change that counts, 0.05 for 5 %")
      ->check(CLI::Range(0.0, 10.0))
      ->needs(other);
  hta->excludes(html)->excludes(other);
  other->excludes(html);
  command->footer(
      "\nThe page is one file that needs no network. Exit code of --compare: 0 if nothing is worse, 1 if something regressed.\n"
      "Examples:\n  trireme report runs/quickstart\n  trireme report runs/gpt --html gpt.html\n  trireme report runs/gpt --hta traces/\n"
      "  trireme report runs/new --compare runs/baseline --tolerance 0.1");
  command->callback([&action, arguments] { action = [arguments] { return report_run(*arguments); }; });
}

}  // namespace trireme::app
