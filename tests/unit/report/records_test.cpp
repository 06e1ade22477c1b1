#include <trireme/core/wall_clock.h>
#include <trireme/report/exit_record.h>
#include <trireme/report/records.h>

#include <array>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

using Json = nlohmann::json;

std::set<std::string> keys(const Json& json) {
  std::set<std::string> names;
  for (const auto& item : json.items()) names.insert(item.key());
  return names;
}

const std::vector<std::string> hosts{"n1", "n2"};

Window window() {
  std::vector<RankRow> rows(2);
  for (size_t item = 0; item < item_count; ++item) {
    rows[0][item] = static_cast<double>(item) + 1;
    rows[1][item] = static_cast<double>(item) + 2;
  }
  return window_of(rows);
}

TEST(MetricsLine, HasExactlyTheDocumentedFields) {
  StepMetrics metrics;
  metrics.step = 20;
  metrics.loss = 1.5;
  metrics.lr = 3e-4;
  metrics.samples = 640;
  metrics.grad_norm = std::numeric_limits<double>::infinity();
  const std::string line = metrics_line(metrics, window(), hosts, 2);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const Json json = Json::parse(line);
  EXPECT_EQ(keys(json), (std::set<std::string>{"schema",
                                               "attempt",
                                               "step",
                                               "epoch",
                                               "loss",
                                               "lr",
                                               "grad_norm",
                                               "samples",
                                               "tokens",
                                               "step_seconds",
                                               "samples_per_second",
                                               "tokens_per_second",
                                               "skipped",
                                               "phases",
                                               "memory",
                                               "communication",
                                               "memory_kinds",
                                               "sensors",
                                               "host_syncs",
                                               "host_sync_seconds",
                                               "load_seconds",
                                               "model_flops_per_second",
                                               "mfu",
                                               "goodput"}));
  EXPECT_EQ(json.at("attempt"), 2);
  EXPECT_EQ(json.at("step"), 20);
  EXPECT_EQ(json.at("loss"), 1.5);
  EXPECT_TRUE(json.at("grad_norm").is_null());
  EXPECT_EQ(keys(json.at("phases")),
            (std::set<std::string>{"data", "forward", "backward", "comm_exposed", "optimizer",
                                   "checkpoint", "graph", "other"}));
  EXPECT_EQ(keys(json.at("memory")),
            (std::set<std::string>{"allocated", "reserved", "peak", "rss", "peak_ever"}));
  for (const char* group : {"phases", "memory"})
    for (const Json& item : json.at(group)) {
      EXPECT_EQ(keys(item), (std::set<std::string>{"min", "mean", "p95", "max", "min_rank",
                                                   "max_rank", "max_host"}));
      EXPECT_EQ(item.at("max_rank"), 1);
      EXPECT_EQ(item.at("max_host"), "n2");
    }
  EXPECT_EQ(json.at("phases").at("forward").at("min"), 2);
  EXPECT_EQ(json.at("phases").at("forward").at("max"), 3);
  EXPECT_EQ(json.at("memory").at("rss").at("min"), static_cast<double>(index_of(Item::rss)) + 1);
}

TEST(MetricsLine, LeavesOutWhatNoRankKnows) {
  const std::array steps{telemetry::StepRecord{.seconds = 2}};
  const Json plain = Json::parse(metrics_line({}, window_of({row_of(steps)}), hosts, 1));
  EXPECT_FALSE(plain.contains("sensors"));
  EXPECT_FALSE(plain.contains("memory_kinds"));
  for (const char* name : {"mfu", "model_flops_per_second", "load_seconds", "goodput"})
    EXPECT_TRUE(plain.at(name).is_null()) << name;

  RankExtras extras;
  extras.flops = 4e12;
  extras.sensors = SensorMeans{.utilisation = 0.5, .power_watts = 300, .celsius = 60};
  StepMetrics metrics;
  metrics.peak_flops_per_rank = 1e13;
  // The second rank has no sensors.
  const Json json = Json::parse(metrics_line(
      metrics, window_of({row_of(steps, extras), row_of(steps, {.flops = 2e12})}), hosts, 1, 0.75));
  EXPECT_DOUBLE_EQ(json.at("model_flops_per_second").at("mean"), 1.5e12);
  EXPECT_EQ(json.at("model_flops_per_second").at("max_rank"), 0);
  EXPECT_DOUBLE_EQ(json.at("mfu"), 0.15);
  EXPECT_DOUBLE_EQ(json.at("goodput"), 0.75);
  EXPECT_DOUBLE_EQ(json.at("sensors").at("power_watts").at("min"), 300);
}

TEST(RankLine, HoldsTheRowBitForBit) {
  const std::array steps{telemetry::StepRecord{.seconds = 1.0 / 3}};
  const RankRow row = row_of(steps);
  const Json json = Json::parse(rank_line(row, 30, 10, 2, 3, "n7"));
  EXPECT_EQ(json.at("rank"), 3);
  EXPECT_EQ(json.at("host"), "n7");
  EXPECT_EQ(json.at("step"), 30);
  EXPECT_EQ(json.at("steps"), 10);
  EXPECT_EQ(json.at("step_seconds").get<double>(), 1.0 / 3);
  EXPECT_TRUE(json.at("celsius").is_null());
  for (const std::string_view name : item_names) EXPECT_TRUE(json.contains(std::string(name)));
}

TEST(EvalLine, HasExactlyTheDocumentedFields) {
  const Json json = Json::parse(
      eval_line({.step = 5, .loss = 2.5, .metrics = {{"accuracy", 0.5}}, .samples = 64}, 1));
  EXPECT_EQ(keys(json),
            (std::set<std::string>{"schema", "attempt", "step", "loss", "metrics", "samples"}));
  EXPECT_EQ(json.at("metrics").at("accuracy"), 0.5);
  EXPECT_TRUE(Json::parse(eval_line({}, 1)).at("metrics").is_object());
}

TEST(EventLine, HasTimeStepAttemptAndDetailsOfAnyType) {
  const Event event{
      "changed",
      7,
      {{"key", std::string("train.steps")}, {"to", int64_t{300}}, {"ok", true}, {"x", 0.5}}};
  const Json json = Json::parse(event_line(event, 4, "2026-11-21T09:30:05.123Z"));
  EXPECT_EQ(json, Json({{"schema", 1},
                        {"attempt", 4},
                        {"time", "2026-11-21T09:30:05.123Z"},
                        {"event", "changed"},
                        {"step", 7},
                        {"key", "train.steps"},
                        {"to", 300},
                        {"ok", true},
                        {"x", 0.5}}));
}

TEST(UtcTime, IsIso8601) {
  EXPECT_THAT(
      utc_time(),
      testing::MatchesRegex("20[0-9][0-9]-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9][0-9][0-9]Z"));
  EXPECT_EQ(utc_time().size(), 24U);
}

TEST(ExitRecord, OnlyWhatARestartCuresIsResumable) {
  for (const ErrorKind kind : {ErrorKind::stopped, ErrorKind::hang, ErrorKind::peer_lost})
    EXPECT_TRUE(resumable(kind));
  for (const ErrorKind kind :
       {ErrorKind::unexpected, ErrorKind::usage, ErrorKind::configuration, ErrorKind::ranks_differ,
        ErrorKind::environment, ErrorKind::input_missing, ErrorKind::data_damaged,
        ErrorKind::plugin_refused, ErrorKind::no_checkpoint, ErrorKind::model_refused,
        ErrorKind::plugin_failed, ErrorKind::storage, ErrorKind::diverged, ErrorKind::out_of_memory,
        ErrorKind::corruption, ErrorKind::do_not_requeue})
    EXPECT_FALSE(resumable(kind)) << core::name_of(kind);
}

TEST(ExitRecord, HoldsTheAgreedFailure) {
  const comm::Failure failure{.kind = ErrorKind::peer_lost,
                              .rank = 3,
                              .host = "n2",
                              .step = 41,
                              .message = "rank 3 is gone \xff",
                              .hint = "look at its log"};
  const Json json = Json::parse(exit_json(exit_record_of(failure), 2));
  EXPECT_EQ(keys(json), (std::set<std::string>{"schema", "attempt", "code", "kind", "rank", "host",
                                               "step", "message", "hint", "resumable"}));
  EXPECT_EQ(json.at("code"), 41);
  EXPECT_EQ(json.at("kind"), "peer_lost");
  EXPECT_EQ(json.at("rank"), 3);
  EXPECT_EQ(json.at("host"), "n2");
  EXPECT_EQ(json.at("step"), 41);
  EXPECT_EQ(json.at("hint"), "look at its log");
  EXPECT_EQ(json.at("resumable"), true);
  EXPECT_THAT(json.at("message").get<std::string>(), testing::StartsWith("rank 3 is gone "));
}

TEST(ExitRecord, SuccessIsCodeZero) {
  const Json json = Json::parse(exit_json({}, 1));
  EXPECT_EQ(json.at("code"), 0);
  EXPECT_EQ(json.at("kind"), "done");
  EXPECT_EQ(json.at("resumable"), false);
}

}  // namespace
}  // namespace trireme::report
