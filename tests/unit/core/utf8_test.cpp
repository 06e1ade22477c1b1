#include <trireme/core/utf8.h>

#include <string>

#include <gtest/gtest.h>

namespace trireme::core {
namespace {

std::string encode(uint32_t code) {
  const auto byte = [](uint32_t value) { return static_cast<char>(value); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xc0 | (code >> 6)), byte(0x80 | (code & 0x3f))};
  if (code < 0x10000) return {byte(0xe0 | (code >> 12)), byte(0x80 | ((code >> 6) & 0x3f)), byte(0x80 | (code & 0x3f))};
  return {byte(0xf0 | (code >> 18)), byte(0x80 | ((code >> 12) & 0x3f)), byte(0x80 | ((code >> 6) & 0x3f)), byte(0x80 | (code & 0x3f))};
}

TEST(Utf8, EveryCharacterIsReadAndSurrogatesAreNone) {
  for (uint32_t code = 0; code < 0x120000; ++code) {
    const std::string text = encode(code);
    const Utf8Character read = first_utf8_character(text + "x");
    const bool character = code < 0x110000 && (code < 0xd800 || code > 0xdfff);
    ASSERT_EQ(read.bytes, character ? text.size() : 0U) << code;
    ASSERT_EQ(read.code, character ? code : 0U);
    if (text.size() == 1) continue;
    const std::string_view torn = std::string_view(text).substr(0, text.size() - 1);
    ASSERT_EQ(first_utf8_character(torn).bytes, 0U) << code;
  }
}

TEST(Utf8, NoFormIsLongerThanItHasToBe) {
  for (const char* const text : {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf"})
    EXPECT_EQ(first_utf8_character(text).bytes, 0U);
}

TEST(Utf8, AByteThatContinuesNothingIsNoCharacter) {
  for (int byte = 0x80; byte < 0x100; ++byte) EXPECT_EQ(first_utf8_character(std::string{static_cast<char>(byte), 'a', 'b', 'c'}).bytes, 0U) << byte;
}

}  // namespace
}  // namespace trireme::core
