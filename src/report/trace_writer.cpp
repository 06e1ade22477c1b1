#include <trireme/core/error.h>
#include <trireme/core/wall_clock.h>
#include <trireme/report/trace.h>
#include <trireme/telemetry/span_log.h>

#include "report/json.h"
#include "report/trace_file.h"
#include "report/trace_gzip.h"
#include "report/trace_part.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

namespace trireme::report {
namespace {

using Bytes = std::vector<std::string>;

/// What a rank tells the others, or why it cannot: nothing but the call of the communicator, which
/// all ranks make, may throw on one rank alone.
template <class Tell>
std::string told(const Tell& tell) {
  try {
    return dump(tell());
  } catch (const std::exception& error) {
    return dump({{"failure", error.what()}});
  }
}

std::vector<Json> parsed(const Bytes& texts) {
  std::vector<Json> all;
  for (const std::string& text : texts) all.push_back(Json::parse(text));
  return all;
}

/// What every rank says before it knows where the trace begins.
Json introduction(const TracePart& part) {
  const int64_t now = telemetry::now_ns();
  const comm::ClockOffset& clock =
      part.clock_at_end.uncertainty_ns < part.clock_at_begin.uncertainty_ns ? part.clock_at_end
                                                                            : part.clock_at_begin;
  Json mine{{"host", part.host},
            {"pid", part.pid},
            {"clock_offset_ns", clock.offset_ns},
            {"clock_uncertainty_ns", clock.uncertainty_ns},
            {"clock_drifts", comm::drifts(part.clock_at_begin, part.clock_at_end)},
            {"now", now},
            {"wall", wall_clock_ns()}};
  if (const auto first = first_moment(part)) mine["first"] = *first;
  return mine;
}

int64_t base_of(const std::vector<Json>& ranks) {
  std::optional<int64_t> base;
  for (const Json& rank : ranks)
    if (rank.contains("first")) {
      const auto first = rank.at("first").get<int64_t>();
      base = std::min(base.value_or(first), first);
    }
  return base.value_or(ranks.front().at("now").get<int64_t>());
}

/// This rank's part, compressed, or why there is none.
struct Formatted {
  std::vector<at::Tensor> chunks;
  PartCounts counts;
  uint32_t crc = 0;
  int64_t text_bytes = 0;
};

/// A tensor over the chunk that keeps it: a failed operation may still read it.
at::Tensor tensor_over(const GzipPart::Chunk& chunk) {
  return at::from_blob(
      chunk->data(), {static_cast<int64_t>(chunk->size())}, [chunk](void*) {},
      at::TensorOptions(at::kByte));
}

Formatted format(const TracePart& part, int rank, int64_t base_ns, int64_t max_bytes) {
  Formatted made;
  GzipPart text;
  made.counts = format_part(part, rank, base_ns, TraceDialect::merged, max_bytes, text);
  text.finish();
  for (const auto& chunk : text.chunks()) made.chunks.push_back(tensor_over(chunk));
  made.crc = text.crc();
  made.text_bytes = text.text_bytes();
  return made;
}

Json contents(const Formatted& mine, int64_t dropped_before) {
  Json chunks = Json::array();
  for (const auto& chunk : mine.chunks) chunks.push_back(chunk.numel());
  return {{"events", mine.counts.events},
          {"dropped", mine.counts.dropped + dropped_before},
          {"chunks", std::move(chunks)},
          {"crc", mine.crc},
          {"text_bytes", mine.text_bytes}};
}

/// When the trace begins by the clock on the wall of rank 0's host.
int64_t unix_base(const Json& root, int64_t base_ns) {
  return root.at("wall").get<int64_t>() - root.at("now").get<int64_t>() + base_ns;
}

/// All before the events. Keys are on lines of their own.
std::string heading(const std::vector<Json>& ranks, const std::vector<Json>& parts,
                    int64_t base_ns) {
  Json clocks = Json::array(), hosts = Json::array();
  int64_t dropped = 0;
  for (size_t r = 0; r < ranks.size(); ++r) {
    dropped += parts[r].at("dropped").get<int64_t>();
    hosts.push_back(ranks[r].at("host"));
    clocks.push_back({{"rank", r},
                      {"host", ranks[r].at("host")},
                      {"pid", ranks[r].at("pid")},
                      {"clock_offset_ns", ranks[r].at("clock_offset_ns")},
                      {"clock_uncertainty_ns", ranks[r].at("clock_uncertainty_ns")},
                      {"clock_drifts", ranks[r].at("clock_drifts")},
                      {"events", parts[r].at("events")},
                      {"dropped", parts[r].at("dropped")}});
  }
  std::string text = "{\n\"schemaVersion\":1,\n\"displayTimeUnit\":\"ms\",\n";
  const auto line = [&](const char* key, const Json& value) {
    text += '"';
    text += key;
    text += "\":";
    text += dump(value);
    text += ",\n";
  };
  line("baseTimeNanoseconds", unix_base(ranks.front(), base_ns));
  line("distributedInfo", {{"backend", "trireme"}, {"world_size", ranks.size()}, {"hosts", hosts}});
  line("trireme", {{"schema", 1}, {"dropped", dropped}, {"ranks", clocks}});
  return text + "\"traceEvents\":[\n";
}

constexpr std::string_view ending = "\n]}\n";

/// Whether writing has gone well so far, as rank 0 says.
bool still_well(comm::Communicator& all, bool well) {
  const at::Tensor word = at::empty({1}, at::kLong);
  auto& value = *static_cast<int64_t*>(word.data_ptr());
  value = well ? 1 : 0;
  all.broadcast(word, 0)->wait();
  return value != 0;
}

/// Rank 0: what rank `from` sends, chunk after chunk. `room` holds any of them.
void receive_part(comm::Communicator& all, int from, const Json& part, const at::Tensor& room,
                  TraceFile& file, int64_t& most) {
  for (const Json& chunk : part.at("chunks")) {
    const auto bytes = chunk.get<int64_t>();
    most = std::max(most, bytes);
    const at::Tensor here = at::from_blob(
        room.data_ptr(), {bytes}, [room](void*) {}, at::TensorOptions(at::kByte));
    all.recv(here, from)->wait();
    file.write(here.const_data_ptr(), static_cast<size_t>(bytes));
  }
  file.part_ended(part.at("crc").get<uint32_t>(), part.at("text_bytes").get<int64_t>());
}

void throw_failures(const std::vector<Json>& parts) {
  for (size_t r = 0; r < parts.size(); ++r)
    if (parts[r].contains("failure"))
      throw TraceFailure(ErrorKind::unexpected, "rank " + std::to_string(r) +
                                                    " could not prepare its part of the trace: " +
                                                    parts[r].at("failure").get<std::string>());
}

/// What rank 0 says at the end: the summary, or the Error that all throw.
Json verdict_of(const TraceFile& file, const std::vector<Json>& parts, int64_t held) {
  if (const auto& failure = file.failure())
    return {{"kind", static_cast<int>(failure->kind())},
            {"message", failure->message()},
            {"hint", failure->hint()}};
  int64_t events = 0, dropped = 0;
  for (const Json& part : parts) {
    events += part.at("events").get<int64_t>();
    dropped += part.at("dropped").get<int64_t>();
  }
  return {{"events", events},
          {"dropped", dropped},
          {"json_bytes", file.text_bytes()},
          {"file_bytes", file.bytes()},
          {"held_bytes", held}};
}

}  // namespace

TraceSummary write_trace(comm::Communicator& all, const TracePart& mine,
                         const std::filesystem::path& path, const TraceLimits& limits) {
  const bool root = all.rank() == 0;
  const std::vector<Json> ranks =
      parsed(all.all_gather_bytes(told([&] { return introduction(mine); })));
  throw_failures(ranks);
  const int64_t base_ns = base_of(ranks);
  Formatted own;
  const std::vector<Json> parts = parsed(all.all_gather_bytes(told([&] {
    own = format(mine, all.rank(), base_ns, limits.of_each(all.size()));
    return contents(own, mine.dropped + mine.operators.dropped);
  })));
  throw_failures(parts);

  std::optional<TraceFile> file;
  at::Tensor room;
  int64_t held = 0, most_received = 0;
  if (root) {
    file.emplace(path);
    file->attempt([&] {
      room = at::empty({static_cast<int64_t>(GzipPart::chunk_bytes)}, at::kByte);
      file->write_text(heading(ranks, parts, base_ns));
    });
    for (const at::Tensor& chunk : own.chunks) {
      file->write(chunk.const_data_ptr(), static_cast<size_t>(chunk.numel()));
      held += chunk.numel();
    }
    file->part_ended(own.crc, own.text_bytes);
    own.chunks.clear();
  }
  // Ranks take turns, and all learn in between how it goes: nobody waits longer for rank 0 than the
  // deadline of one operation allows.
  for (int rank = 1; rank < all.size(); ++rank) {
    if (!still_well(all, !root || file->well())) break;
    if (root) receive_part(all, rank, parts[static_cast<size_t>(rank)], room, *file, most_received);
    if (rank != all.rank()) continue;
    for (at::Tensor& chunk : own.chunks) {
      all.send(chunk, 0)->wait();
      chunk.reset();
    }
  }
  Json verdict;
  if (root) {
    file->write_text(ending);
    file->finish();
    verdict = verdict_of(*file, parts, std::max(held, most_received));
  }
  verdict = Json::parse(all.broadcast_bytes(root ? dump(verdict) : "", 0));
  if (verdict.contains("message"))
    throw TraceFailure(static_cast<ErrorKind>(verdict.at("kind").get<int>()),
                       verdict.at("message").get<std::string>(),
                       verdict.at("hint").get<std::string>());
  return {.events = verdict.at("events").get<int64_t>(),
          .dropped = verdict.at("dropped").get<int64_t>(),
          .json_bytes = verdict.at("json_bytes").get<int64_t>(),
          .file_bytes = verdict.at("file_bytes").get<int64_t>(),
          .held_bytes = verdict.at("held_bytes").get<int64_t>(),
          .base_ns = base_ns,
          .base_unix_ns = unix_base(ranks.front(), base_ns)};
}

}  // namespace trireme::report
