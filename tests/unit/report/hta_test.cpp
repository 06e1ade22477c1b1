#include <trireme/comm/local.h>
#include <trireme/report/hta.h>

#include "support/spawn_ranks.h"
#include "unit/report/trace_records.h"

#include <regex>
#include <string>

#include <gmock/gmock.h>

namespace trireme::report {
namespace {

using nlohmann::json;

void write_ranks(int ranks, const std::filesystem::path& file) {
  test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
    static_cast<void>(write_trace(*all, training_part(all->rank(), ranks), file));
  });
}

/// The files in `dir` in order of rank.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& dir) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Hta, OneFileARankThatSaysWhichItIs) {
  const TraceFolder folder;
  write_ranks(3, folder / "trace.json.gz");
  EXPECT_EQ(write_hta(folder / "trace.json.gz", folder / "hta"), 3);
  const auto files = files_in(folder / "hta");
  ASSERT_EQ(files.size(), 3U);
  size_t events = 0;
  for (size_t rank = 0; rank < 3; ++rank) {
    EXPECT_THAT(files[rank].filename().string(),
                testing::MatchesRegex("rank00" + std::to_string(rank) +
                                      "\\.[0-9]+\\.pt\\.trace\\.json\\.gz"));
    const std::string text = unpacked(bytes_of(files[rank]));
    std::smatch found;
    ASSERT_TRUE(std::regex_search(text, found, std::regex("\"rank\":\\s+(\\d+)")));
    EXPECT_EQ(found[1], std::to_string(rank));
    const json trace = json::parse(text);
    EXPECT_EQ(trace.at("distributedInfo").at("world_size"), 3);
    for (const json& event : trace.at("traceEvents")) EXPECT_EQ(event.at("pid"), rank);
    EXPECT_EQ(events_of(trace, 'X', "kernel").size(), 2U);
    EXPECT_EQ(events_of(trace, 'X', "cpu_op").size(), 2U);
    // Two steps, and what PyTorch has no category for: six spans.
    EXPECT_EQ(events_of(trace, 'X', "user_annotation").size(), 8U);
    EXPECT_TRUE(events_of(trace, 's', "collective").empty());
    EXPECT_EQ(events_of(trace, 's', "ac2g").size(), 2U);
    events += trace.at("traceEvents").size();
  }
  const json merged = read_trace(folder / "trace.json.gz");
  EXPECT_EQ(events + 8, merged.at("traceEvents").size()) << "all but the links between ranks";
}

TEST(Hta, ARankThatRecordedNothingHasAFileToo) {
  const TraceFolder folder;
  static_cast<void>(write_trace(*comm::make_local_communicator(), {}, folder / "t.gz"));
  EXPECT_EQ(write_hta(folder / "t.gz", folder / "hta"), 1);
  EXPECT_EQ(events_of(read_trace(files_in(folder / "hta")[0]), 'X').size(), 1U);
}

TEST(Hta, EachRanksOwnFileIsTheSameAsThatTakenFromTheTraceOfAll) {
  constexpr int n = 3;
  const TraceFolder folder;
  test::spawn_ranks(n, [&](const comm::CommunicatorPtr& all) {
    const TracePart part = training_part(all->rank(), n, 1'000'000 * all->rank());
    const TraceSummary merged = write_trace(*all, part, folder / "trace.json.gz");
    write_rank_trace(part, all->rank(), n, merged,
                     folder / ("own/rank00" + std::to_string(all->rank()) + ".gz"));
  });
  EXPECT_EQ(write_hta(folder / "trace.json.gz", folder / "hta"), n);
  const auto own = files_in(folder / "own"), taken = files_in(folder / "hta");
  ASSERT_EQ(own.size(), 3U);
  for (size_t rank = 0; rank < own.size(); ++rank)
    EXPECT_EQ(read_trace(own[rank]), read_trace(taken[rank]));
}

TEST(Hta, ARanksOwnFileOfNothingAndOneThatCannotBeWritten) {
  const TraceFolder folder;
  write_rank_trace({}, 1, 2, {}, folder / "nothing.gz");
  EXPECT_EQ(events_of(read_trace(folder / "nothing.gz"), 'X').size(), 1U);
  std::ofstream(folder / "occupied") << "a file, not a folder";
  try {
    write_rank_trace(training_part(0, 1), 0, 1, {}, folder / "occupied/t.gz");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::storage);
  }
  EXPECT_THAT(folder.names(), testing::UnorderedElementsAre("nothing.gz", "occupied"));
}

TEST(Hta, AMissingTraceIsMissingInput) {
  const TraceFolder folder;
  for (const auto& path : {folder / "none.json.gz", folder / ""}) {
    try {
      static_cast<void>(write_hta(path, folder / "hta"));
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input_missing);
    }
  }
  EXPECT_TRUE(folder.names().empty());
}

class DamagedTrace : public testing::Test {
 protected:
  /// Bytes that are packed again unless they are `raw`.
  void expect_damaged(const std::string& text, const std::string& words) {
    std::ofstream(folder_ / "bad.gz", std::ios::binary) << text;
    try {
      static_cast<void>(write_hta(folder_ / "bad.gz", folder_ / "hta"));
      ADD_FAILURE() << "nothing was thrown: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data_damaged) << error.what();
      EXPECT_THAT(error.message(), testing::HasSubstr("bad.gz"));
      EXPECT_THAT(error.message(), testing::HasSubstr(words));
    }
    if (std::filesystem::exists(folder_ / "hta")) {
      EXPECT_TRUE(std::filesystem::is_empty(folder_ / "hta")) << words;
    }
  }
  [[nodiscard]] std::string whole() {
    write_ranks(2, folder_ / "trace.json.gz");
    return bytes_of(folder_ / "trace.json.gz");
  }
  TraceFolder folder_;
};

TEST_F(DamagedTrace, CutShortAnywhere) {
  const std::string packed = whole();
  for (size_t bytes = 20; bytes < packed.size(); bytes += 37)
    expect_damaged(packed.substr(0, bytes), "");
  expect_damaged(packed.substr(0, packed.size() - 1), "cut short");
}

TEST_F(DamagedTrace, AFlippedBitIsFound) {
  const std::string packed = whole();
  for (size_t at = 40; at < packed.size(); at += 53) {
    std::string bad = packed;
    bad[at] = static_cast<char>(bad[at] ^ 16);
    expect_damaged(bad, "");
  }
}

TEST_F(DamagedTrace, OrNoTraceOfOurs) {
  expect_damaged("", "no trace");
  expect_damaged("hello\n", "no trace");
  expect_damaged("{\"traceEvents\":[]}", "no trace");
  expect_damaged(std::string(3 << 20, 'x'), "too long");
  const std::string text = unpacked(whole());  // is read unpacked, too
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string other = text;
    const size_t at = other.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return other.replace(at, from.size(), to);
  };
  expect_damaged(changed("\"world_size\":2", "\"world_size\":\"2\""), "number of ranks");
  expect_damaged(changed("\"world_size\":2", "\"world_size\":3"), "ranks are missing");
  expect_damaged(changed("\"world_size\":2", "\"world_size\":1"), "do not follow");
  expect_damaged(changed("\"baseTimeNanoseconds\"", "\"base\""), "the time");
  expect_damaged(changed("{\"pid\":1,", "{\"pid\":7,"), "do not follow");
  expect_damaged(changed("{\"pid\":0,\"tid\":90,\"ph\":\"X\"", "{\"tid\":90,\"ph\":\"X\""),
                 "no event");
  expect_damaged(text + "more\n", "follows the end");
}

}  // namespace
}  // namespace trireme::report
