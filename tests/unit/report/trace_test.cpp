#include <trireme/comm/local.h>
#include <trireme/comm/traced.h>
#include <trireme/report/trace.h>

#include "support/spawn_ranks.h"
#include "unit/report/scarce_memory.h"
#include "unit/report/trace_records.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <thread>

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace trireme::report {
namespace {

using nlohmann::json;
using telemetry::SpanRecord;
using test::spawn_ranks;

json write_and_read(int ranks, const std::function<TracePart(int)>& part_of,
                    TraceSummary* summary = nullptr, const TraceLimits& limits = {}) {
  const TraceFolder folder;
  const auto file = folder / "trace.json.gz";
  spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
    const TracePart part = part_of(all->rank());
    const TraceSummary got = write_trace(*all, part, file, limits);
    if (all->rank() == ranks - 1 && summary != nullptr) *summary = got;
  });
  EXPECT_THAT(folder.names(), testing::ElementsAre("trace.json.gz"));
  if (summary != nullptr) {
    EXPECT_EQ(summary->file_bytes, static_cast<int64_t>(std::filesystem::file_size(file)));
    EXPECT_EQ(summary->json_bytes, static_cast<int64_t>(unpacked(bytes_of(file)).size()));
  }
  return read_trace(file);
}

TEST(Trace, UnitsHaveALineOfTheirOwnAndAModelsOwnSpansStayWhereTheyWere) {
  const json trace = write_and_read(1, [](int) {
    TracePart part;
    part.thread_names = {"main"};
    const auto span = [&](const char* name, telemetry::Track track) {
      part.spans.push_back({.name = name,
                            .start_ns = 1'000'000'000,
                            .duration_ns = 1000,
                            .category = telemetry::Category::forward_pass,
                            .track = track});
    };
    span("block 0", telemetry::Track::units);
    span("my attention", telemetry::Track::thread);
    return part;
  });
  std::map<int64_t, std::string> threads;
  for (const json& event : events_of(trace, 'M'))
    if (event.at("name") == "thread_name") threads[event.at("tid")] = event.at("args").at("name");
  std::map<std::string, std::string> shown;
  for (const json& event : events_of(trace, 'X')) shown[event.at("name")] = threads[event.at("tid")];
  EXPECT_EQ(shown["block 0"], "units");
  EXPECT_EQ(shown["my attention"], "main");
}

TEST(Trace, OfAllRanksIsOneFileInRank0sTime) {
  constexpr int n = 4;
  const int64_t day = 86'400'000'000'000;
  TraceSummary summary;
  const json trace = write_and_read(
      n, [&](int rank) { return training_part(rank, n, rank * day - day / 2 * (rank % 2)); },
      &summary);
  EXPECT_EQ(summary.events, static_cast<int64_t>(trace.at("traceEvents").size()));
  EXPECT_EQ(summary.dropped, 0);
  EXPECT_EQ(trace.at("schemaVersion"), 1);
  EXPECT_EQ(trace.at("distributedInfo").at("world_size"), n);
  EXPECT_GT(trace.at("baseTimeNanoseconds").get<int64_t>(), 1'700'000'000'000'000'000);
  const json& about = trace.at("trireme").at("ranks");
  ASSERT_EQ(about.size(), 4U);
  EXPECT_EQ(about[3].at("host"), "node1");
  EXPECT_EQ(about[2].at("clock_offset_ns"), -2 * day);
  EXPECT_EQ(about[2].at("clock_uncertainty_ns"), 20);
  // Rank r began r microseconds after rank 0, whatever its clock showed.
  for (const json& event : events_of(trace, 'X', "forward_pass")) {
    const auto rank = event.at("pid").get<double>();
    const double step = event.at("args").at("step").get<double>();
    EXPECT_NEAR(event.at("ts").get<double>(), 0.15 + rank + 1000 * (step - 6), 1e-6);
    EXPECT_EQ(event.at("dur"), 400);
  }
  std::map<int, std::string> processes;
  std::set<std::string> threads;
  for (const json& event : events_of(trace, 'M')) {
    if (event.at("name") == "process_name")
      processes[event.at("pid").get<int>()] = event.at("args").at("name");
    if (event.at("name") == "thread_name") threads.insert(event.at("args").at("name"));
  }
  EXPECT_EQ(processes[3], "rank 3 on node1");
  EXPECT_EQ(processes.size(), 4U);
  EXPECT_THAT(threads,
              testing::ElementsAre("communication", "loader 0", "main", "steps", "stream 7"));
}

TEST(Trace, StepsMemoryOperatorsAndKernelsAreShownAsPyTorchDoes) {
  const json trace = write_and_read(2, [](int rank) { return training_part(rank, 2); });
  std::set<std::string> steps;
  for (const json& event : events_of(trace, 'X', "user_annotation")) {
    steps.insert(event.at("name"));
    EXPECT_EQ(event.at("dur"), 900) << "the step, not what follows until the next";
  }
  EXPECT_THAT(steps, testing::ElementsAre("ProfilerStep#6", "ProfilerStep#7"));
  const auto operations = events_of(trace, 'X', "cpu_op");
  ASSERT_EQ(operations.size(), 4U);
  EXPECT_EQ(operations[0].at("name"), "aten::mm");
  EXPECT_EQ(operations[0].at("tid"), 1) << "within the spans of the thread that recorded";
  EXPECT_EQ(operations[0].at("args"), (json{{"step", 6},
                                            {"Input Dims", "[[64, 128], [128, 32]]"},
                                            {"flops", 524288},
                                            {"bytes", 8192},
                                            {"stack", "main.cpp:7"}}));
  const auto kernels = events_of(trace, 'X', "kernel");
  ASSERT_EQ(kernels.size(), 4U);
  EXPECT_EQ(kernels[0].at("args").at("stream"), 7);
  EXPECT_EQ(kernels[0].at("args").at("correlation"), 501);
  EXPECT_EQ(events_of(trace, 'X', "cuda_runtime").size(), 4U);
  EXPECT_EQ(events_of(trace, 'i').size(), 4U);
  const auto memory = events_of(trace, 'C');
  ASSERT_EQ(memory.size(), 4U);
  EXPECT_EQ(memory[0].at("args").at("allocated"), 1 << 20);
  // A kernel's arrow ends where another rank's does not begin.
  std::map<std::string, int> starts;
  for (const json& event : events_of(trace, 's', "ac2g")) ++starts[event.at("id")];
  EXPECT_EQ(starts.size(), 4U);
  for (const json& event : events_of(trace, 'f', "ac2g")) EXPECT_EQ(starts[event.at("id")], 1);
}

TEST(Trace, CollectivesOfOneCallAreLinkedInAChainOverTheRanks) {
  constexpr int n = 4;
  const json trace = write_and_read(n, [](int rank) { return training_part(rank, n); });
  const auto calls = events_of(trace, 'X', "communication");
  ASSERT_EQ(calls.size(), 8U);
  EXPECT_EQ(calls[0].at("args"), (json{{"step", 6},
                                       {"Collective name", "all_reduce"},
                                       {"group", "world"},
                                       {"Process Group Name", "world"},
                                       {"Group size", 4},
                                       {"bytes", 4096},
                                       {"sequence", 5}}));
  std::map<std::string, std::pair<json, json>> links;
  for (const json& event : events_of(trace, 's', "collective")) links[event.at("id")].first = event;
  for (const json& event : events_of(trace, 'f', "collective"))
    links[event.at("id")].second = event;
  EXPECT_EQ(links.size(), 2U * (n - 1));
  for (const auto& [id, link] : links) {
    const auto& [from, to] = link;
    ASSERT_TRUE(from.is_object() && to.is_object()) << id;
    EXPECT_EQ(from.at("pid").get<int>() + 1, to.at("pid").get<int>());
    EXPECT_LE(from.at("ts").get<double>(), to.at("ts").get<double>());
    for (const json& end : {from, to}) {
      const bool within = std::any_of(calls.begin(), calls.end(), [&](const json& call) {
        const double start = call.at("ts"), now = end.at("ts"), length = call.at("dur");
        return call.at("pid") == end.at("pid") && call.at("tid") == end.at("tid") && start <= now &&
               now <= start + length;
      });
      EXPECT_TRUE(within) << end;
    }
  }
}

TEST(Trace, RealCallsOfRealRanksAreLinkedToo) {
  constexpr int n = 3;
  const TraceFolder folder;
  spawn_ranks(n, [&](const comm::CommunicatorPtr& all) {
    telemetry::Recorder recorder;
    const comm::CommunicatorPtr ranks = comm::traced(all, recorder);
    TracePart part{.host = "here", .clock_at_begin = comm::align_clocks(*all)};
    for (int i = 0; i < 20; ++i) {
      std::vector<comm::WorkPtr> works;
      for (int k = 0; k < 3; ++k)
        works.push_back(ranks->all_reduce(at::ones({1000}), comm::ReduceOp::sum));
      for (const auto& work : works) work->wait();
    }
    part.clock_at_end = comm::align_clocks(*all);
    part.spans = recorder.spans().drain();
    part.thread_names = recorder.spans().thread_names();
    static_cast<void>(write_trace(*all, part, folder / "t.json.gz"));
  });
  const json trace = read_trace(folder / "t.json.gz");
  std::map<std::string, int> ids;
  for (const char phase : {'s', 'f'})
    for (const json& event : events_of(trace, phase, "collective")) ++ids[event.at("id")];
  EXPECT_EQ(ids.size(), 60U * (n - 1));
  for (const auto& [id, count] : ids) EXPECT_EQ(count, 2) << id;
}

TEST(Trace, EverySpanOfEveryRankAppearsExactlyOnceOnALineOfItsOwn) {
  constexpr int n = 5;
  std::deque<std::string> names;  // of all ranks
  for (int rank = 0; rank < n; ++rank)
    for (int i = 0; i < 3000 * rank; ++i)
      names.push_back(std::to_string(rank) + " \"span\" \\ " + std::to_string(i));
  const TraceFolder folder;
  const auto file = folder / "trace.json.gz";
  spawn_ranks(n, [&](const comm::CommunicatorPtr& all) {
    TracePart part;
    const int rank = all->rank();
    const int first = 3000 * rank * (rank - 1) / 2;
    for (int i = 0; i < 3000 * rank; ++i)
      part.spans.push_back({.name = names[static_cast<size_t>(first + i)].c_str(),
                            .start_ns = 1'000'000 + (i * 7919) % 100'000,
                            .duration_ns = 10});
    static_cast<void>(write_trace(*all, part, file));
  });
  std::multiset<std::string> seen;
  std::istringstream text(unpacked(bytes_of(file)));
  bool events = false;
  int64_t rank = 0;
  for (std::string line; std::getline(text, line);) {
    if (line == "]}") break;
    if (events) {
      ASSERT_EQ(line.substr(0, 7), "{\"pid\":") << line;
      if (line.back() == ',') line.pop_back();
      const json event = json::parse(line);
      EXPECT_GE(event.at("pid").get<int64_t>(), rank) << "ranks follow each other";
      rank = event.at("pid").get<int64_t>();
      if (event.at("ph") == "X") {
        seen.insert(event.at("name"));
        EXPECT_EQ(std::stoll(event.at("name").get<std::string>()), rank);
      }
    }
    events = events || line == "\"traceEvents\":[";
  }
  EXPECT_EQ(seen, (std::multiset<std::string>(names.begin(), names.end())));
}

TEST(Trace, OfNothingIsStillATrace) {
  for (const int ranks : {1, 3}) {
    TraceSummary summary;
    const json trace = write_and_read(
        ranks, [](int) { return TracePart{}; }, &summary);
    EXPECT_EQ(trace.at("traceEvents").size(), 3U * static_cast<size_t>(ranks));
    EXPECT_EQ(summary.dropped, 0);
  }
}

TEST(Trace, OverlappingCallsAndNestedSpansNeverCrossOnAThread) {
  TracePart part;
  const auto call = [&](int64_t start, int64_t duration) {
    part.spans.push_back({.name = "c", .start_ns = start, .duration_ns = duration, .group = "g"});
  };
  call(100, 50);
  call(120, 10);
  call(125, 60);
  call(130, 5);
  call(150, 5);
  // The inner span ends, and is written, first.
  part.spans.push_back({.name = "inner", .start_ns = 100, .duration_ns = 10});
  part.spans.push_back({.name = "outer", .start_ns = 100, .duration_ns = 90});
  const json trace = write_and_read(1, [&](int) { return part; });
  std::map<int, std::vector<std::pair<double, double>>> threads;
  for (const json& event : events_of(trace, 'X')) {
    const double start = event.at("ts"), end = start + event.at("dur").get<double>();
    for (const auto& [other_start, other_end] : threads[event.at("tid").get<int>()])
      EXPECT_TRUE(start >= other_end - 1e-9 || end <= other_end + 1e-9) << event;
    threads[event.at("tid").get<int>()].emplace_back(start, end);
  }
  EXPECT_EQ(threads.size(), 4U) << "three lanes of calls are enough, and the thread of the spans";
}

TEST(Trace, HugeAndBrokenNamesDoNotBreakIt) {
  std::string huge(3'000'000, 'n'), broken = "\xff\xfe\"\\\n\x01";
  const json trace = write_and_read(2, [&](int) {
    TracePart part;
    part.host = broken;
    part.thread_names = {broken};
    part.spans = {
        {.name = huge.c_str(), .start_ns = 1, .duration_ns = 2},
        {.name = broken.c_str(), .start_ns = 4, .duration_ns = 2, .group = broken.c_str()},
        {.name = nullptr, .start_ns = 7, .duration_ns = -2}};
    return part;
  });
  const auto spans = events_of(trace, 'X');
  ASSERT_EQ(spans.size(), 6U);
  EXPECT_LT(spans[0].at("name").get<std::string>().size(), 5000U);
  EXPECT_EQ(spans[2].at("dur"), 0);
}

TEST(Trace, BeyondTheLimitTheNewestRecordsStay) {
  TraceSummary summary;
  constexpr int64_t limit = 100'000;
  const json trace = write_and_read(
      2,
      [](int rank) {
        TracePart part;
        part.dropped = 3;
        part.operators.strings = {"", "op"};
        for (int i = 0; i < (rank == 0 ? 5000 : 20); ++i) {
          part.spans.push_back({.name = "span", .start_ns = 1000 * i, .duration_ns = 10});
          part.operators.events.push_back(
              {.name = 1, .start_ns = 1000 * i + 500, .duration_ns = 10});
        }
        return part;
      },
      &summary, {.rank_bytes = limit});
  EXPECT_LE(summary.json_bytes, 2 * limit);
  std::map<int, std::vector<double>> starts;
  for (const json& event : events_of(trace, 'X'))
    starts[event.at("pid").get<int>()].push_back(event.at("ts").get<double>());
  EXPECT_EQ(starts[1].size(), 40U) << "the other rank is not touched";
  auto& kept = starts[0];
  std::sort(kept.begin(), kept.end());
  EXPECT_GT(kept.size(), 500U);
  EXPECT_EQ(kept.back(), 4999.5);
  for (size_t i = 0; i < kept.size(); ++i)
    EXPECT_DOUBLE_EQ(kept[i], 5000 - 0.5 * static_cast<double>(kept.size() - i)) << "without holes";
  EXPECT_EQ(summary.dropped, 10'000 - static_cast<int64_t>(kept.size()) + 6);
  const json& about = trace.at("trireme");
  EXPECT_EQ(about.at("dropped"), summary.dropped);
  EXPECT_EQ(about.at("ranks")[1].at("dropped"), 3);
}

TEST(Trace, ManyRanksShareTheLimitOfTheWhole) {
  EXPECT_EQ(TraceLimits{}.of_each(1), 256 << 20);
  EXPECT_EQ(TraceLimits{}.of_each(4), 256 << 20);
  EXPECT_EQ(TraceLimits{}.of_each(1024), 1 << 20);
  TraceSummary summary;
  constexpr int64_t limit = 200'000;
  const json trace = write_and_read(
      4,
      [](int) {
        TracePart part;
        for (int i = 0; i < 2000; ++i)
          part.spans.push_back({.name = "span", .start_ns = 1000 * i, .duration_ns = 10});
        return part;
      },
      &summary, {.total_bytes = limit});
  EXPECT_LE(summary.json_bytes, limit + 2000) << "with the heading";
  EXPECT_GT(summary.json_bytes, limit / 2);
  std::map<int, int> spans;
  for (const json& event : events_of(trace, 'X')) ++spans[event.at("pid").get<int>()];
  EXPECT_EQ(spans.size(), 4U) << "each rank has its share";
}

TEST(Trace, ARankWithoutMemoryMakesAllGiveItUpAndTheyGoOn) {
  constexpr int n = 3;
  for (int poor = 0; poor < n; ++poor) {
    const TraceFolder folder;
    std::atomic<int> told{0};
    spawn_ranks(n, [&](const comm::CommunicatorPtr& all) {
      const TracePart part = training_part(all->rank(), n);
      try {
        const ScarceMemory scarce(all->rank() == poor);
        static_cast<void>(write_trace(*all, part, folder / "t.gz"));
        ADD_FAILURE() << "nothing was thrown";
      } catch (const TraceFailure& failure) {
        EXPECT_EQ(failure.kind(), ErrorKind::unexpected);
        EXPECT_THAT(failure.message(), testing::HasSubstr("rank " + std::to_string(poor)));
        EXPECT_THAT(failure.message(), testing::HasSubstr("bad_alloc"));
        ++told;
      }
      static_cast<void>(write_trace(*all, part, folder / "again.gz"));
    });
    EXPECT_EQ(told, n);
    EXPECT_THAT(folder.names(), testing::ElementsAre("again.gz"));
  }
}

TEST(Trace, RankZeroHoldsLittleOfTheOthers) {
  const TraceFolder folder;
  std::deque<std::string> names;
  for (int i = 0; i < 100'000; ++i) names.push_back(fmt::format("n{}", i * 2654435761LL));
  spawn_ranks(3, [&](const comm::CommunicatorPtr& all) {
    TracePart part;
    for (int i = 0; all->rank() > 0 && i < 100'000; ++i)
      part.spans.push_back({.name = names[static_cast<size_t>(i)].c_str(),
                            .start_ns = i * 7919LL * all->rank() % 1'000'000'007,
                            .duration_ns = i * 104729LL % 65537});
    const TraceSummary summary = write_trace(*all, part, folder / "t.gz");
    EXPECT_GT(summary.file_bytes, 3 << 20);
    EXPECT_LE(summary.held_bytes, 2 << 20);
  });
}

TEST(Trace, ADiskThatFailsIsAnErrorOfAllRanksAndLeavesNothing) {
  const TraceFolder folder;
  std::ofstream(folder / "occupied") << "a file, not a folder";
  std::atomic<int> told{0};
  spawn_ranks(3, [&](const comm::CommunicatorPtr& all) {
    try {
      static_cast<void>(
          write_trace(*all, training_part(all->rank(), 3), folder / "occupied/trace.json.gz"));
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_NE(dynamic_cast<const TraceFailure*>(&error), nullptr);
      EXPECT_EQ(error.kind(), ErrorKind::storage);
      EXPECT_THAT(error.message(), testing::HasSubstr("occupied"));
      ++told;
    }
    all->barrier()->wait();  // they still understand each other
  });
  EXPECT_EQ(told, 3);
  EXPECT_THAT(folder.names(), testing::ElementsAre("occupied"));
}

TEST(Trace, ReplacesAnOlderOneAndWhatACrashLeft) {
  const TraceFolder folder;
  std::ofstream(folder / "t.gz") << "old";
  std::ofstream(folder / "t.gz.tmp") << "half";
  static_cast<void>(
      write_trace(*comm::make_local_communicator(), training_part(0, 1), folder / "t.gz"));
  EXPECT_THAT(folder.names(), testing::ElementsAre("t.gz"));
  EXPECT_EQ(events_of(read_trace(folder / "t.gz"), 'X', "kernel").size(), 2U);
}

}  // namespace
}  // namespace trireme::report
