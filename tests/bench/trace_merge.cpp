// Gathers and merges the traces of ranks that are threads of this process, each with its own spans:
//   bench_trace_merge FOLDER [--ranks 64] [--spans 100000] [--turns 3]
// One span in eight is a collective, so the file has three lines for every ninth record.
#include <trireme/comm/thread.h>
#include <trireme/report/trace.h>

#include "bench/blocks.h"

#include <array>
#include <filesystem>
#include <thread>

using namespace trireme;

namespace {

report::TracePart part_of(int rank, int ranks, int64_t spans) {
  constexpr std::array<const char*, 8> names{"data",        "forward",   "h.0.forward",
                                             "h.1.forward", "backward",  "h.1.backward",
                                             "optimizer",   "all_reduce"};
  using telemetry::Category;
  constexpr std::array<Category, 8> categories{Category::data_loading,   Category::forward_pass,
                                               Category::forward_pass,   Category::forward_pass,
                                               Category::backward_pass,  Category::backward_pass,
                                               Category::optimizer_step, Category::communication};
  report::TracePart part;
  part.host = "node" + std::to_string(rank / 8);
  part.thread_names = {"steps"};
  part.spans.reserve(static_cast<size_t>(spans));
  uint64_t state = static_cast<uint64_t>(rank) * 7919 + 1;
  int64_t now = 1'000'000'000;
  for (int64_t i = 0; i < spans; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto kind = static_cast<size_t>(i % 8);
    const auto duration = static_cast<int64_t>(state >> 44);
    telemetry::SpanRecord span{.name = names[kind],
                               .start_ns = now,
                               .duration_ns = duration,
                               .step = i / 32,
                               .category = categories[kind]};
    if (kind == 7) {
      span.bytes = 1 << 20;
      span.sequence = i / 8;
      span.group = "world";
      span.group_rank = rank;
      span.group_size = ranks;
    }
    part.spans.push_back(span);
    if (i % 32 == 0) part.step_times.emplace_back(i / 32, now);
    now += duration + 100;
  }
  return part;
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  const std::filesystem::path folder = arguments.words().at(0);
  const auto ranks = static_cast<int>(arguments.number("ranks", 64));
  const int64_t spans = arguments.number("spans", 100'000);
  const auto all = comm::make_thread_communicators(ranks);
  std::vector<report::TracePart> parts;
  for (int rank = 0; rank < ranks; ++rank) parts.push_back(part_of(rank, ranks, spans));

  std::vector<double> seconds;
  report::TraceSummary summary;
  for (int64_t turn = 0; turn < arguments.number("turns", 3); ++turn) {
    const bench::Clock clock;
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank)
      threads.emplace_back([&, rank] {
        const auto r = static_cast<size_t>(rank);
        const auto mine = report::write_trace(*all[r], parts[r], folder / "trace.json.gz");
        if (rank == 0) summary = mine;
      });
    for (std::thread& thread : threads) thread.join();
    seconds.push_back(clock.seconds());
  }
  bench::report("trace_merge", {{"ranks", ranks},
                                {"spans_per_rank", spans},
                                {"seconds", bench::summary(seconds)},
                                {"events", summary.events},
                                {"dropped", summary.dropped},
                                {"held_bytes", summary.held_bytes},
                                {"file_bytes", summary.file_bytes},
                                {"json_bytes", summary.json_bytes}});
}
