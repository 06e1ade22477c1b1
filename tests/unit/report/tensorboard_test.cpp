#include <trireme/report/tensorboard.h>

#include "report/crc32c.h"
#include "report/protobuf_writer.h"
#include "report/tensorboard_events.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

namespace trireme::report {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

namespace fs = std::filesystem;

/// What protobuf's wire format says, field by field, to look at what was written.
struct Message {
  struct Field {
    uint64_t integer = 0;
    std::string bytes;
  };
  std::multimap<uint32_t, Field> fields;

  static uint64_t varint(std::string_view& in) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(in.at(0));
      in.remove_prefix(1);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
  }
  static Message parse(std::string_view in) {
    Message message;
    while (!in.empty()) {
      const uint64_t tag = varint(in);
      Field field;
      size_t length = 0;
      switch (tag & 7U) {
        case 0:
          field.integer = varint(in);
          break;
        case 1:
          length = 8;
          break;
        case 2:
          length = varint(in);
          break;
        case 5:
          length = 4;
          break;
        default:
          ADD_FAILURE() << "wire type " << (tag & 7U);
      }
      EXPECT_LE(length, in.size());
      field.bytes = in.substr(0, length);
      in.remove_prefix(length);
      message.fields.emplace(static_cast<uint32_t>(tag >> 3U), std::move(field));
    }
    return message;
  }
  [[nodiscard]] const Field& only(uint32_t field) const {
    EXPECT_EQ(fields.count(field), 1U) << "field " << field;
    return fields.find(field)->second;
  }
  [[nodiscard]] Message in(uint32_t field) const { return parse(only(field).bytes); }
  template <class Value>
  [[nodiscard]] std::vector<Value> numbers(uint32_t field) const {
    const std::string& bytes = only(field).bytes;
    std::vector<Value> values(bytes.size() / sizeof(Value));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
};

uint32_t little_endian_32(std::string_view bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// The events in a file; fails if a record is torn or a checksum is wrong.
std::vector<Message> events_in(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::vector<Message> events;
  for (std::string_view rest = text; !rest.empty();) {
    if (rest.size() < 16) throw std::runtime_error("torn record");
    uint64_t length = 0;
    std::memcpy(&length, rest.data(), sizeof length);
    if (rest.size() < 16 + length) throw std::runtime_error("torn record");
    const std::string_view event = rest.substr(12, length);
    EXPECT_EQ(little_endian_32(rest.substr(8)), masked_crc32c(rest.substr(0, 8)));
    EXPECT_EQ(little_endian_32(rest.substr(12 + length)), masked_crc32c(event));
    events.push_back(Message::parse(event));
    rest.remove_prefix(16 + length);
  }
  return events;
}

/// Tag and value of all scalars of an event.
std::map<std::string, float> scalars_of(const Message& event) {
  std::map<std::string, float> scalars;
  const Message summary = event.in(5);
  for (const auto& [number, field] : summary.fields) {
    const Message value = Message::parse(field.bytes);
    scalars[value.only(1).bytes] = value.numbers<float>(2).at(0);
  }
  return scalars;
}

class Board : public testing::Test {
 protected:
  void TearDown() override {
    fs::permissions(root_, fs::perms::owner_all);
    fs::remove_all(root_);
  }
  void SetUp() override { fs::create_directories(root_); }
  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    if (fs::exists(folder_))
      for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  static Window window() {
    RankRow fast{}, slow{};
    fast[index_of(telemetry::Phase::forward)] = 0.25;
    slow[index_of(telemetry::Phase::forward)] = 0.75;
    slow[index_of(telemetry::Phase::data)] = 0.125;
    fast[index_of(Item::rss)] = 1000;
    slow[index_of(Item::rss)] = 3000;
    fast[index_of(Item::celsius)] = slow[index_of(Item::celsius)] =
        std::numeric_limits<double>::quiet_NaN();
    return window_of({fast, slow});
  }

  fs::path root_ = fs::path(testing::TempDir()) / ("tensorboard_" + std::to_string(getpid()));
  fs::path folder_ = root_ / "tensorboard";
};

// RFC 3720, B.4; and the check value of the catalogue of CRCs.
TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  std::string bytes(32, '\0');
  std::iota(bytes.begin(), bytes.end(), '\0');
  EXPECT_EQ(crc32c(bytes), 0x46dd794eU);
  std::reverse(bytes.begin(), bytes.end());
  EXPECT_EQ(crc32c(bytes), 0x113fdb5cU);
}

TEST(Crc32c, AnyLengthEqualsBitByBit) {
  std::string bytes;
  for (unsigned i = 0; i < 50; ++i) {
    uint32_t crc = ~0U;
    for (const char c : bytes) {
      crc ^= static_cast<unsigned char>(c);
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
    }
    EXPECT_EQ(crc32c(bytes), ~crc) << i << " bytes";
    bytes += static_cast<char>(i * 37 + 11);
  }
}

TEST(Protobuf, WireFormat) {
  ProtobufWriter message;
  message.integer(1, 150);
  message.bytes(2, "testing");
  message.integer(3, -1);
  message.number(4, 1.0);
  message.number(5, 1.0F);
  const std::vector<double> two{1, 2};
  message.numbers(16, two);
  EXPECT_EQ(message.message(), std::string("\x08\x96\x01"
                                           "\x12\x07testing"
                                           "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                                           "\x21\0\0\0\0\0\0\xf0\x3f"
                                           "\x2d\0\0\x80\x3f"
                                           "\x82\x01\x10\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40",
                                           3 + 9 + 11 + 9 + 5 + 19));
}

TEST_F(Board, BeginsWithVersionAndStart) {
  { TensorBoard(folder_).text("t", "x", 1); }
  ASSERT_THAT(files(), SizeIs(1));
  EXPECT_THAT(files()[0].filename().string(), StartsWith("events.out.tfevents."));
  const std::vector<Message> events = events_in(files()[0]);
  ASSERT_THAT(events, SizeIs(3));
  EXPECT_EQ(events[0].only(3).bytes, "brain.Event:2");
  EXPECT_GT(events[0].numbers<double>(1).at(0), 1.7e9);
  EXPECT_EQ(events[1].in(7).only(1).integer, 1U);
  EXPECT_EQ(events[1].only(2).integer, 0U);
}

TEST_F(Board, NothingLoggedLeavesNothing) {
  { const TensorBoard board(folder_); }
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(Board, AResumeUndoesLaterStepsInALaterFile) {
  { TensorBoard(folder_).text("t", "x", 30); }
  { TensorBoard(folder_, 20).text("t", "x", 21); }
  { TensorBoard(folder_, 25).text("t", "x", 26); }
  ASSERT_THAT(files(), SizeIs(3));  // by name, and so by time, although made in one second
  EXPECT_EQ(events_in(files()[0])[1].only(2).integer, 0U);
  EXPECT_EQ(events_in(files()[1])[1].only(2).integer, 21U);
  EXPECT_EQ(events_in(files()[2])[1].only(2).integer, 26U);
}

TEST_F(Board, LogsAStepOverAllRanks) {
  {
    TensorBoard board(folder_);
    log(board, {.step = 7, .loss = 2.5, .lr = 1e-3, .grad_norm = 0.5, .tokens = 100}, window(),
        std::vector<TaggedValue>{{"model/accuracy", 0.25}});
  }
  const std::vector<Message> events = events_in(files().at(0));
  ASSERT_THAT(events, SizeIs(6));
  EXPECT_EQ(events[2].only(2).integer, 7U);
  const auto scalars = scalars_of(events[2]);
  EXPECT_EQ(scalars.at("train/loss"), 2.5F);
  EXPECT_EQ(scalars.at("train/lr"), 1e-3F);
  EXPECT_EQ(scalars.at("train/grad_norm"), 0.5F);
  EXPECT_EQ(scalars.at("phases/forward"), 0.5F);
  EXPECT_EQ(scalars.at("phases/forward_max"), 0.75F);
  EXPECT_EQ(scalars.at("memory/rss_max"), 3000.F);
  EXPECT_EQ(scalars.at("memory/parameters_max"), 0.F);
  EXPECT_EQ(scalars.at("model/accuracy"), 0.25F);
  EXPECT_EQ(scalars.count("throughput/tokens_per_second"), 1U);
  EXPECT_EQ(scalars.count("sensors/celsius"), 0U) << "not known on any rank";
  EXPECT_EQ(scalars.count("throughput/mfu"), 0U) << "nor is what the device could do";
  std::vector<std::string> tags;
  for (size_t i = 3; i < events.size(); ++i) {
    EXPECT_EQ(events[i].only(2).integer, 7U);
    tags.push_back(events[i].in(5).in(1).only(1).bytes);
    EXPECT_EQ(scalars.count(tags.back()), 0U) << "a tag has one dashboard";
  }
  EXPECT_THAT(tags, ElementsAre("throughput/step_seconds_over_ranks", "phases/data_over_ranks",
                                "phases/comm_exposed_over_ranks"));
  const Message data = events[4].in(5).in(1).in(5);
  EXPECT_EQ(data.numbers<double>(2).at(0), 0.125) << "the most";
  EXPECT_EQ(data.numbers<double>(3).at(0), 2) << "a value a rank";
}

TEST_F(Board, LogsWhatIsKnownOfOneRank) {
  RankRow row{};
  row[index_of(Item::step_seconds)] = 0.5;
  row[index_of(Item::flops)] = 1e9;
  {
    TensorBoard board(folder_);
    log(board, {.step = 1, .peak_flops_per_rank = 8e9}, window_of({row}));
  }
  const std::vector<Message> events = events_in(files().at(0));
  ASSERT_THAT(events, SizeIs(3)) << "there are no others to compare it with";
  EXPECT_EQ(scalars_of(events[2]).at("throughput/mfu"), 0.25F);
}

TEST_F(Board, LogsAnEvaluation) {
  {
    TensorBoard board(folder_);
    log(board, {.step = 9, .loss = 1.5, .metrics = {{"accuracy", 0.75}}, .samples = 8});
  }
  const auto scalars = scalars_of(events_in(files().at(0)).at(2));
  EXPECT_THAT(scalars,
              ElementsAre(std::pair("eval/accuracy", 0.75F), std::pair("eval/loss", 1.5F)));
}

TEST_F(Board, TextIsATensorOfTheTextPlugin) {
  {
    TensorBoard board(folder_);
    log_text(board, "run/configuration", "# title\n", 3);
  }
  const Message value = events_in(files().at(0)).at(2).in(5).in(1);
  EXPECT_EQ(value.only(1).bytes, "run/configuration");
  EXPECT_EQ(value.in(9).in(1).only(1).bytes, "text");
  EXPECT_EQ(value.in(8).only(1).integer, 7U);
  EXPECT_EQ(value.in(8).only(8).bytes, "# title\n");
}

TEST_F(Board, HistogramHoldsItsNumbers) {
  {
    TensorBoard board(folder_);
    const std::vector<float> values{-1, 0, 0, 2, std::numeric_limits<float>::infinity()};
    log_histogram(board, "gradients", values, 3);
  }
  const Message histogram = events_in(files().at(0)).at(2).in(5).in(1).in(5);
  const auto number = [&](uint32_t field) {
    return histogram.numbers<double>(field).at(0);
  };
  EXPECT_EQ(number(1), -1);
  EXPECT_EQ(number(2), 2);
  EXPECT_EQ(number(3), 4);
  EXPECT_EQ(number(4), 1);
  EXPECT_EQ(number(5), 5);
  const auto limits = histogram.numbers<double>(6), counts = histogram.numbers<double>(7);
  EXPECT_EQ(limits.size(), counts.size());
  EXPECT_TRUE(std::is_sorted(limits.begin(), limits.end()));
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0.0), 4);
}

TEST(Buckets, EveryValueLiesBelowItsLimit) {
  for (const double value :
       {0.0, -0.0, 1e-300, -1e-300, 1e-12, 1.0, -1.0, 123.456, 1e300, -1e300,
        std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest()}) {
    Histogram histogram;
    histogram.add(value);
    const Histogram::Buckets buckets = histogram.buckets();
    EXPECT_THAT(buckets.counts, ElementsAre(1)) << value;
    EXPECT_LE(value, buckets.limits.at(0));
  }
}

TEST(Buckets, ARunOfEmptyOnesIsOne) {
  Histogram histogram;
  for (const double value : {1.0, 1e6, 1e6}) histogram.add(value);
  const Histogram::Buckets buckets = histogram.buckets();
  EXPECT_THAT(buckets.counts, ElementsAre(1, 0, 2));
  EXPECT_LT(1.0, buckets.limits.at(0));
  EXPECT_LE(buckets.limits.at(1), 1e6);
  EXPECT_LT(1e6, buckets.limits.at(2));
}

TEST(Buckets, OnlyFiniteValuesCount) {
  Histogram histogram;
  histogram.add(std::nan(""));
  histogram.add(-std::numeric_limits<double>::infinity());
  EXPECT_EQ(histogram.count(), 0);
  EXPECT_EQ(histogram.not_finite(), 2);
  EXPECT_THAT(histogram.buckets().counts, IsEmpty());
}

TEST_F(Board, WritesWholeRecordsAtOnceAndThenFromTimeToTime) {
  TensorBoard board(folder_, {}, std::chrono::hours(1));
  board.text("t", "first", 1);
  EXPECT_THAT(events_in(files().at(0)), SizeIs(3));
  board.text("t", "second", 2);
  EXPECT_THAT(events_in(files().at(0)), SizeIs(3));
  board.text("t", std::string(1 << 20, 'x'), 3);  // too much to keep
  EXPECT_THAT(events_in(files().at(0)), SizeIs(5));
  board.text("t", "last", 4);
  board.flush();
  EXPECT_THAT(events_in(files().at(0)), SizeIs(6));
}

TEST_F(Board, WhatCannotBeWrittenIsLostAndTheNextIsTriedAgain) {
  std::ofstream(folder_) << "a file where the folder should be";
  TensorBoard board(folder_, {}, std::chrono::milliseconds(0));
  board.text("t", "lost", 1);
  board.text("t", "lost", 2);
  EXPECT_EQ(board.lost_records(), 2);
  fs::remove(folder_);
  board.text("t", "kept", 3);
  EXPECT_EQ(board.lost_records(), 2);
  const std::vector<Message> events = events_in(files().at(0));
  ASSERT_THAT(events, SizeIs(3));
  EXPECT_EQ(events[0].only(3).bytes, "brain.Event:2");
  EXPECT_EQ(events[2].only(2).integer, 3U);
}

TEST_F(Board, AWriteThatStopsHalfwayLeavesNoTornRecord) {
  TensorBoard board(folder_, {}, std::chrono::milliseconds(0));
  board.text("t", "first", 1);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{.rlim_cur = fs::file_size(files().at(0)) + 40, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  board.text("t", std::string(100, 'x'), 2);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(board.lost_records(), 1);
  EXPECT_EQ(fs::file_size(files()[0]), tight.rlim_cur)
      << "the test is of a write that stops halfway";
  board.text("t", "third", 3);
  const std::vector<Message> events = events_in(files()[0]);
  ASSERT_THAT(events, SizeIs(4));
  EXPECT_EQ(events[3].only(2).integer, 3U);
}

}  // namespace
}  // namespace trireme::report
