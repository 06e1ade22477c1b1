#include <trireme/report/operator_table.h>
#include <trireme/telemetry/operator_tracer.h>

#include "support/spawn_ranks.h"

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

using telemetry::OperatorEvent;
using telemetry::OperatorTrace;
using Kind = OperatorEvent::Kind;

class TraceMaker {
 public:
  OperatorEvent& add(const std::string& name, int64_t start_us, int64_t duration_us, Kind kind = Kind::operation) {
    OperatorEvent event;
    event.name = static_cast<uint32_t>(trace.strings.size());
    for (uint32_t i = 0; i < trace.strings.size(); ++i)
      if (trace.strings[i] == name) event.name = i;
    if (event.name == trace.strings.size()) trace.strings.push_back(name);
    event.kind = kind;
    event.start_ns = 1000 * start_us;
    event.duration_ns = 1000 * duration_us;
    if (kind == Kind::kernel || kind == Kind::copy) event.device = 0;
    trace.events.push_back(event);
    return trace.events.back();
  }
  OperatorTrace trace;
};

const OperatorRow& row(const OperatorTable& table, const std::string& name) {
  for (const OperatorRow& one : table.operators)
    if (one.name == name) return one;
  throw std::out_of_range(name);
}

TEST(OperatorTable, SelfIsWithoutWhatRanInside) {
  TraceMaker made;
  made.add("step", 0, 100, Kind::annotation);
  made.add("linear", 10, 50).bytes = 300;
  made.add("mm", 20, 30).bytes = 200;
  made.trace.events.back().flops = 60'000;
  made.add("linear", 70, 20);
  made.add("linear", 75, 5);  // calls itself
  made.add("late", 200, 7);
  const OperatorTable table = operator_table(made.trace, {}, /*on_device=*/false);
  EXPECT_NEAR(row(table, "step").self_seconds, 30e-6, 1e-12);
  EXPECT_EQ(row(table, "linear").calls, 3);
  EXPECT_NEAR(row(table, "linear").self_seconds, 40e-6, 1e-12);
  EXPECT_NEAR(row(table, "linear").total_seconds, 70e-6, 1e-12);
  EXPECT_EQ(row(table, "linear").bytes, 100);
  EXPECT_EQ(row(table, "mm").flops, 60'000);
  double self = 0;
  for (const OperatorRow& one : table.operators) self += one.self_seconds;
  EXPECT_NEAR(self, 107e-6, 1e-12);  // the time that is covered
  EXPECT_EQ(table.operators.front().name, "linear");
  EXPECT_EQ(table.operators.back().name, "late");
}

/// What the operations that are in no other cover.
double covered_seconds(const OperatorTrace& trace) {
  const std::vector<int64_t> parents = telemetry::parents_of(trace.events);
  int64_t ns = 0;
  for (size_t i = 0; i < parents.size(); ++i)
    if (parents[i] < 0) ns += trace.events[i].duration_ns;
  return 1e-9 * static_cast<double>(ns);
}

TEST(OperatorTable, OfATrainingStepAddsUp) {
  const at::Tensor weight = at::ones({16, 16}).requires_grad_();
  const at::Tensor input = at::ones({4, 16});
  for (const bool kineto : {false, true}) {
    const auto tracer = kineto ? telemetry::make_kineto_tracer({}, at::kCPU) : telemetry::make_callback_tracer({});
    tracer->start();
    for (int i = 0; i < 5; ++i) at::relu(at::linear(input, weight)).sum().backward();
    const OperatorTrace trace = tracer->stop();
    const OperatorTable table = operator_table(trace, {}, /*on_device=*/false);
    double self = 0;
    for (const OperatorRow& one : table.operators) {
      EXPECT_GE(one.self_seconds, 0) << one.name;
      EXPECT_LE(one.self_seconds, one.total_seconds + 1e-9) << one.name;
      self += one.self_seconds;
    }
    EXPECT_GT(self, 0);
    EXPECT_NEAR(self, covered_seconds(trace), kineto ? 1e-6 : 1e-9);
    EXPECT_EQ(row(table, "aten::mm").calls, 5 * 2);
    EXPECT_EQ(row(table, "aten::mm").flops, 5 * (2 * 2 * 4 * 16 * 16));
  }
}

TEST(OperatorTable, MomentsOfMemoryAreNoOperations) {
  TraceMaker made;
  made.add("empty", 0, 10).bytes = 64;
  made.add("[memory]", 5, 0, Kind::memory).bytes = 64;
  const OperatorTable table = operator_table(made.trace, {}, /*on_device=*/false);
  ASSERT_EQ(table.operators.size(), 1U);
  EXPECT_EQ(table.operators[0].bytes, 64);
}

TEST(OperatorTable, WaitsOfTheHostAreFoundWithWhatIsAround) {
  TraceMaker made;
  made.add("aten::item", 0, 10);
  made.add("aten::_local_scalar_dense", 1, 8);
  made.add("cudaStreamSynchronize", 2, 6, Kind::runtime);
  made.add("clip", 100, 50, Kind::annotation);
  made.add("norm", 105, 40);
  made.add("aten::item", 110, 20);
  made.add("cudaLaunchKernel", 160, 1, Kind::runtime);
  made.add("cudaEventSynchronize", 210, 30, Kind::runtime);
  made.add("cudaEventSynchronize", 300, 30, Kind::runtime);
  const std::vector<telemetry::SpanRecord> spans = {{.name = "step", .start_ns = 200'000, .duration_ns = 90'000},
                                                    {.name = "waiting", .start_ns = 205'000, .duration_ns = 40'000}};
  const OperatorTable table = operator_table(made.trace, spans, /*on_device=*/true);
  ASSERT_EQ(table.host_syncs.size(), 4U);
  const auto found = [&](const std::string& name, const std::string& inside) {
    for (const HostSyncRow& one : table.host_syncs)
      if (one.name == name && one.inside == inside) return one.seconds;
    return -1.0;
  };
  EXPECT_NEAR(found("aten::item", ""), 10e-6, 1e-12);
  EXPECT_NEAR(found("aten::item", "clip"), 20e-6, 1e-12);
  EXPECT_NEAR(found("cudaEventSynchronize", "waiting"), 30e-6, 1e-12);
  EXPECT_NEAR(found("cudaEventSynchronize", ""), 30e-6, 1e-12);
  EXPECT_TRUE(operator_table(made.trace, spans, /*on_device=*/false).host_syncs.empty()) << "a CPU waits for nobody";
}

OperatorTable table_of(double mm_seconds) {
  OperatorTable table;
  table.operators = {{.name = "mm", .calls = 4, .self_seconds = mm_seconds, .total_seconds = mm_seconds, .flops = 3'000'000'000, .bytes = 512},
                     {.name = "add", .calls = 2, .self_seconds = 0.5, .total_seconds = 0.5},
                     {.name = "gemm_kernel", .kind = Kind::kernel, .calls = 1, .self_seconds = 3, .total_seconds = 3}};
  table.host_syncs = {{.name = "aten::item", .inside = "loss", .calls = 2, .seconds = 0.25}};
  return table;
}

TEST(OperatorReport, IsReducedOverTheRanksThatRecorded) {
  test::spawn_ranks(4, [](const comm::CommunicatorPtr& ranks) {
    const int rank = ranks->rank();
    OperatorTable mine = table_of(rank == 3 ? 2.5 : 1.5);
    if (rank == 3) mine.operators.push_back({.name = "rare", .calls = 3, .self_seconds = 0.3, .total_seconds = 0.3});
    const bool records = rank != 1;
    const auto report = reduce_operators(*ranks, records ? &mine : nullptr, rank);
    ASSERT_EQ(report.has_value(), rank == 0);
    if (!report) return;
    EXPECT_EQ(report->ranks, 3);
    EXPECT_EQ(report->dropped, 0 + 2 + 3);
    ASSERT_EQ(report->operators.size(), 4U);
    EXPECT_EQ(report->operators[0].name, "gemm_kernel");
    EXPECT_EQ(report->operators[0].share, 1.0);  // of the device
    const OperatorSpread& mm = report->operators[1];
    EXPECT_EQ(mm.name, "mm");
    EXPECT_EQ(mm.calls, 4);
    EXPECT_EQ(mm.self_seconds.max_rank, 3);
    EXPECT_EQ(mm.self_seconds.max, 2.5);
    EXPECT_EQ(mm.self_seconds.min_rank, 0);
    EXPECT_NEAR(mm.share, 5.5 / (5.5 + 1.5 + 0.3), 1e-12);
    EXPECT_NEAR(mm.flops_per_second.value(), 3e9 / (5.5 / 3), 1);
    EXPECT_EQ(report->operators[3].name, "rare");
    EXPECT_EQ(report->operators[3].calls, 1);
    EXPECT_EQ(report->operators[3].self_seconds.min, 0);
    ASSERT_EQ(report->host_syncs.size(), 1U);
    EXPECT_EQ(report->host_syncs[0].inside, "loss");
  });
}

TEST(OperatorReport, TheSpeedOfWhatADeviceComputesIsThatOfItsKernels) {
  OperatorTable mine = table_of(1.5);
  mine.on_device = true;
  mine.operators[2].flops = 6'000'000'000;
  const std::vector<std::string> told = {packed_operators(nullptr, 0), packed_operators(&mine, 0)};
  const OperatorReport report = merged_operators(told).value();
  EXPECT_EQ(report.ranks, 1);
  EXPECT_NEAR(report.operators[0].flops_per_second.value(), 2e9, 1);
  EXPECT_EQ(report.operators[1].name, "mm");
  EXPECT_FALSE(report.operators[1].flops_per_second) << "launching it took that long";
  const std::vector<std::string> hosts = {"alpha", "beta"};
  const nlohmann::json json = nlohmann::json::parse(operators_json(report, hosts, 1));
  EXPECT_TRUE(json["operators"][1]["flops_per_second"].is_null());
  EXPECT_EQ(json["operators"][1]["flops"], 3e9);
}

TEST(OperatorReport, TableSaysNothingOfWaitsWhereThereAreNone) {
  OperatorTable mine = table_of(1.5);
  const auto text = [&mine] { return operators_text(merged_operators(std::vector{packed_operators(&mine, 0)}).value()); };
  EXPECT_THAT(text(), testing::HasSubstr("the host waited in"));
  mine.host_syncs.clear();
  EXPECT_THAT(text(), testing::Not(testing::HasSubstr("waited")));
}

TEST(OperatorReport, NothingIfNobodyRecorded) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& ranks) { EXPECT_FALSE(reduce_operators(*ranks, nullptr, 0)); });
}

TEST(OperatorReport, AsJsonAndAsText) {
  test::spawn_ranks(1, [](const comm::CommunicatorPtr& ranks) {
    const OperatorTable mine = table_of(1.5);
    OperatorReport report = reduce_operators(*ranks, &mine, 7).value();
    report.first_step = 11;
    report.last_step = 13;
    const std::vector<std::string> hosts = {"alpha"};
    const nlohmann::json json = nlohmann::json::parse(operators_json(report, hosts, 2));
    EXPECT_EQ(json["schema"], 1);
    EXPECT_EQ(json["attempt"], 2);
    EXPECT_EQ(json["first_step"], 11);
    EXPECT_EQ(json["last_step"], 13);
    EXPECT_EQ(json["ranks"], 1);
    const auto& mm = json["operators"][1];
    EXPECT_EQ(mm["name"], "mm");
    EXPECT_EQ(mm["kind"], "operation");
    EXPECT_EQ(mm["self_seconds"]["max_host"], "alpha");
    EXPECT_EQ(mm["flops"], 3e9);
    EXPECT_EQ(json["host_syncs"][0]["name"], "aten::item");
    EXPECT_EQ(json["host_syncs"][0]["inside"], "loss");
    const std::string text = operators_text(report, 2);
    EXPECT_THAT(text, testing::HasSubstr("mm "));
    EXPECT_THAT(text, testing::HasSubstr("75.0%"));
    EXPECT_THAT(text, testing::HasSubstr("2.0 "));  // GFLOP/s
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("add")));
    EXPECT_THAT(text, testing::HasSubstr("7 operations are missing"));
  });
}

}  // namespace
}  // namespace trireme::report
