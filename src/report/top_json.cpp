#include <trireme/report/records.h>
#include <trireme/report/top_screen.h>

#include "json.h"

namespace trireme::report {
namespace {

Json spreads_json(const std::vector<TopRun::Spread>& spreads) {
  Json json = Json::object();
  for (const TopRun::Spread& spread : spreads)
    json[spread.name] = {{"mean", spread.mean},
                         {"max", spread.max},
                         {"max_rank", spread.max_rank},
                         {"max_host", spread.max_host}};
  return json;
}

Json run_json(const TopRun& run) {
  Json json = {{"path", run.path},  {"state", name_of(run.state)}, {"message", run.message},
               {"hint", run.hint},  {"holder", run.holder},        {"attempt", run.attempt},
               {"ranks", run.ranks}};
  if (run.record_age >= 0) {
    json["record_age_seconds"] = run.record_age;
    json["step"] = run.step;
    json["total_steps"] = run.total > 0 ? Json(run.total) : Json();
    json["seconds_left"] = run.seconds_left ? Json(*run.seconds_left) : Json();
    json["loss"] = run.loss;
    json["losses"] = run.losses;
    json["lr"] = run.lr;
    json["grad_norm"] = run.grad_norm;
    json["step_seconds"] = run.step_seconds;
    json["samples_per_second"] = run.samples_per_second;
    json["tokens_per_second"] = run.tokens_per_second;
    json["skipped"] = run.skipped;
    json["mfu"] = run.mfu;
    json["goodput"] = run.goodput;
    json["phases"] = spreads_json(run.phases);
    json["memory"] = spreads_json(run.memory);
    json["sensors"] = spreads_json(run.sensors);
  }
  if (run.evaluation) {
    Json metrics = Json::object();
    for (const auto& [name, value] : run.evaluation->metrics) metrics[name] = value;
    json["evaluation"] = {
        {"step", run.evaluation->step}, {"loss", run.evaluation->loss}, {"metrics", metrics}};
  }
  json["troubles"] = run.troubles;
  json["verdict"] = run.verdict;
  json["switches"] = run.switches;
  json["events"] = Json::array();
  for (const TopRun::Event& event : run.events)
    json["events"].push_back({{"time", event.time}, {"text", event.text}});
  json["findings"] = run.findings;
  return json;
}

}  // namespace

std::string top_json(const std::vector<TopRun>& runs) {
  Json all = Json::array();
  for (const TopRun& run : runs) all.push_back(run_json(run));
  return dump({{"schema", record_schema}, {"runs", std::move(all)}});
}

}  // namespace trireme::report
