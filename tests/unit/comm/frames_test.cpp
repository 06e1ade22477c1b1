#include "comm/frames.h"

#include <gtest/gtest.h>

namespace trireme::comm {
namespace {

TEST(Frames, survive_any_cutting_of_the_stream) {
  const std::string stream = encode(FrameKind::failure, "text") + encode(FrameKind::leave) +
                             encode(FrameKind::verdict, std::string(70'000, 'v')) +
                             encode(FrameKind::goodbye);
  for (const std::size_t step :
       {std::size_t{1}, std::size_t{3}, std::size_t{4096}, stream.size()}) {
    FrameReader reader;
    std::vector<Frame> frames;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      reader.feed(std::string_view(stream).substr(at, step));
      while (auto frame = reader.next()) frames.push_back(*std::move(frame));
    }
    ASSERT_EQ(frames.size(), 4u) << step;
    EXPECT_EQ(frames[0].kind, FrameKind::failure);
    EXPECT_EQ(frames[0].body, "text");
    EXPECT_EQ(frames[1].body, "");
    EXPECT_EQ(frames[2].body.size(), 70'000u);
    EXPECT_EQ(frames[3].kind, FrameKind::goodbye);
  }
}

TEST(Frames, refuse_what_cannot_be_a_frame) {
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n"), std::string("\0\0\0\0\0", 5),
        std::string("\0\0\0\0\x7f", 5), std::string("\xff\xff\xff\xff\x01", 5)}) {
    FrameReader reader;
    reader.feed(bytes);
    EXPECT_THROW(static_cast<void>(reader.next()), Error);
  }
}

TEST(Frames, carry_a_failure) {
  Failure failure;
  failure.kind = ErrorKind::out_of_memory;
  failure.rank = 3;
  failure.host = "node7";
  failure.step = 1234567890123;
  failure.message = "needs \"quotes\"\nand lines";
  failure.hint = "less";
  const Failure back = failure_from(to_text(failure));
  EXPECT_EQ(back.kind, failure.kind);
  EXPECT_EQ(back.rank, failure.rank);
  EXPECT_EQ(back.host, failure.host);
  EXPECT_EQ(back.step, failure.step);
  EXPECT_EQ(back.message, failure.message);
  EXPECT_EQ(back.hint, failure.hint);
}

TEST(Frames, tame_texts_that_are_too_long_or_no_text) {
  Failure failure;
  failure.message = std::string(1'000'000, '\xff');
  failure.hint = "b\xc3";
  const std::string text = to_text(failure);
  FrameReader reader;
  reader.feed(encode(FrameKind::verdict, text));
  const auto frame = reader.next();
  ASSERT_TRUE(frame);
  EXPECT_GT(failure_from(frame->body).message.size(), 1000u);
}

TEST(Frames, make_the_best_of_a_damaged_failure) {
  EXPECT_EQ(failure_from("no json").rank, -1);
  EXPECT_EQ(failure_from(R"({"rank": "three", "message": 5, "step": 8})").step, 8);
}

}  // namespace
}  // namespace trireme::comm
