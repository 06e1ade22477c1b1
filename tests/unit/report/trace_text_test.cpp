#include "report/trace_text.h"

#include <cstdint>
#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

std::string as_json(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}
std::string microseconds(int64_t ns) {
  std::string out;
  append_microseconds(out, ns);
  return out;
}

TEST(Microseconds, AreExactAndShort) {
  EXPECT_EQ(microseconds(0), "0");
  EXPECT_EQ(microseconds(1), "0.001");
  EXPECT_EQ(microseconds(10), "0.01");
  EXPECT_EQ(microseconds(1'234'500), "1234.5");
  EXPECT_EQ(microseconds(1'000'007), "1000.007");
  EXPECT_EQ(microseconds(12'000), "12");
  EXPECT_EQ(microseconds(-5), "0");
  EXPECT_EQ(microseconds(9'007'199'254'740'993'120), "9007199254740993.12");
}

TEST(Quoted, EveryByteAndPairOfBytesMakesValidJson) {
  for (int first = 0; first < 256; ++first)
    for (int second = 0; second < 256; ++second) {
      const std::string text{'a', static_cast<char>(first), static_cast<char>(second), 'z'};
      const auto json = nlohmann::json::parse(as_json(text), nullptr, false);
      ASSERT_TRUE(json.is_string()) << first << " " << second;
      if (first < 128 && second < 128) {
        ASSERT_EQ(json.get<std::string>(), text);
      }
    }
}

TEST(Quoted, TextSurvivesAndWhatIsNoUtf8IsReplaced) {
  const std::string text = "matmul [64 \xC3\x97 128] \"\\\n\t\x01 \xE2\x82\xAC \xF0\x9F\x9A\xA3";
  EXPECT_EQ(nlohmann::json::parse(as_json(text)).get<std::string>(), text);
  // A lone continuation, an overlong form, a surrogate, beyond the last code point, cut short.
  for (const std::string bad : {"\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"})
    EXPECT_EQ(nlohmann::json::parse(as_json("<" + bad + ">")).get<std::string>().substr(0, 4),
              "<\xEF\xBF\xBD");
}

TEST(Quoted, LongTextsAreCutBetweenCharacters) {
  for (size_t shift = 0; shift < 4; ++shift) {
    std::string text(shift, 'x');
    while (text.size() < 3 * longest_trace_text) text += "\xE2\x82\xAC";
    const auto cut = nlohmann::json::parse(as_json(text)).get<std::string>();
    EXPECT_LE(cut.size(), longest_trace_text + 3);
    EXPECT_GE(cut.size(), longest_trace_text - 3);
    EXPECT_EQ(cut.substr(cut.size() - 3), "...");
    EXPECT_EQ(cut.find("\xEF\xBF\xBD"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::report
