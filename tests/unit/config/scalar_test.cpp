#include "config/scalar.h"

#include "config/yaml.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace trireme::config {
namespace {

using Kind = Node::Kind;

Node value_in_yaml(const std::string& text) {
  std::vector<Problem> problems;
  const Node root = parse_yaml("key: " + text + "\n", "test", problems);
  EXPECT_TRUE(problems.empty());
  return root.find("key")->value;
}

TEST(PlainScalar, IntegersOfTheCoreSchema) {
  const std::vector<std::pair<std::string, std::int64_t>> table = {
      {"0", 0},
      {"42", 42},
      {"-7", -7},
      {"+7", 7},
      {"010", 10},
      {"-010", -10},
      {"0o10", 8},
      {"0o7", 7},
      {"0x1F", 31},
      {"0xff", 255},
      {"00", 0},
      {"-0", 0},
      {"9223372036854775807", std::numeric_limits<std::int64_t>::max()},
      {"-9223372036854775808", std::numeric_limits<std::int64_t>::min()},
      {"0x7fffffffffffffff", std::numeric_limits<std::int64_t>::max()}};
  for (const auto& [text, value] : table) {
    const Node node = value_in_yaml(text);
    EXPECT_EQ(node.kind, Kind::integer) << text;
    EXPECT_EQ(node.integer, value) << text;
    EXPECT_EQ(node.number, static_cast<double>(value)) << text;
    EXPECT_EQ(node.text, text);
  }
}

TEST(PlainScalar, NumbersOfTheCoreSchema) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<std::string, double>> table = {
      {"1e-4", 1e-4},  {"3e-4", 3e-4},  {"1E5", 1e5},      {"1.", 1.0},   {".5", 0.5},
      {"-.5", -0.5},   {"+1.5", 1.5},   {"1.5e+3", 1500},  {"0.1", 0.1},  {"1e0", 1},
      {".inf", inf},   {"-.inf", -inf}, {"+.Inf", inf},    {".INF", inf}, {"-.INF", -inf},
      {"010.5", 10.5}, {"1e22", 1e22},  {"5e-324", 5e-324}};
  for (const auto& [text, value] : table) {
    const Node node = value_in_yaml(text);
    EXPECT_EQ(node.kind, Kind::number) << text;
    EXPECT_EQ(node.number, value) << text;
  }
  for (const char* text : {".nan", ".NaN", ".NAN"}) {
    const Node node = value_in_yaml(text);
    EXPECT_EQ(node.kind, Kind::number) << text;
    EXPECT_TRUE(std::isnan(node.number)) << text;
  }
}

TEST(PlainScalar, NumbersThatNothingHoldsAreInfinite) {
  for (const char* text :
       {"1e999", "-1e999", "1e-999", "0xffffffffffffffffff", "0o7777777777777777777777777"}) {
    const Node node = value_in_yaml(text);
    EXPECT_EQ(node.kind, Kind::number) << text;
    EXPECT_TRUE(std::isinf(node.number)) << text;
    EXPECT_EQ(node.text, text);
  }
  // Beyond int64, but a double has it.
  const Node big = value_in_yaml("9223372036854775808");
  EXPECT_EQ(big.kind, Kind::number);
  EXPECT_EQ(big.number, 9223372036854775808.0);
}

TEST(PlainScalar, BooleansAndNull) {
  for (const char* text : {"true", "True", "TRUE"}) {
    EXPECT_EQ(value_in_yaml(text).kind, Kind::boolean) << text;
    EXPECT_TRUE(value_in_yaml(text).boolean) << text;
  }
  for (const char* text : {"false", "False", "FALSE"}) {
    EXPECT_EQ(value_in_yaml(text).kind, Kind::boolean) << text;
    EXPECT_FALSE(value_in_yaml(text).boolean) << text;
  }
  for (const char* text : {"null", "Null", "NULL", "~", "", "# only a comment"}) {
    EXPECT_EQ(value_in_yaml(text).kind, Kind::null) << text;
  }
}

TEST(PlainScalar, EverythingElseIsText) {
  for (const char* text :
       {"no",     "yes",      "on",         "off",   "No",   "y",     "n",      "1_000", "0b11",
        "1e",     "e5",       ".",          "-",     "+",    "1.2.3", "0x",     "0o",    "0o8",
        "0xg",    "-0x1",     "+0o1",       "tRue",  "nULL", "nan",   "inf",    ".iNf",  "+.nan",
        "1:30",   "12:30:45", "2026-11-21", "1,000", "1e5x", "--1",   "0x1F.8", "1 2",   "runs/gpt",
        "cosine", "-.",       ".e5",        "0O10",  "0X1F"}) {
    const Node node = type_plain_scalar(text);
    EXPECT_EQ(node.kind, Kind::text) << text;
    EXPECT_EQ(node.text, text);
  }
  EXPECT_EQ(value_in_yaml("a word or two").text, "a word or two");
  EXPECT_EQ(value_in_yaml("no").kind, Kind::text);
}

TEST(QuotedScalar, IsAlwaysText) {
  for (const char* text : {"42", "true", "null", "", "1e-4", "~", ".inf"}) {
    for (const char* quote : {"'", "\""}) {
      const Node node = value_in_yaml(quote + std::string(text) + quote);
      EXPECT_EQ(node.kind, Kind::text) << text;
      EXPECT_EQ(node.text, text);
    }
  }
  EXPECT_EQ(value_in_yaml("|\n  42").kind, Kind::text);
  EXPECT_EQ(value_in_yaml("|\n  42").text, "42\n");
  EXPECT_EQ(value_in_yaml(">-\n  a\n  b").text, "a b");
  EXPECT_EQ(value_in_yaml(R"("a\tb\u00e4\"")").text, "a\tb\u00e4\"");
}

TEST(NumberText, ReadsBackToTheSameDouble) {
  for (const double value : {0.0, -0.0, 1.0, 0.1, 3e-4, 1e22, 1e21, 123456789.0, 5e-324,
                             1.7976931348623157e308, 1.0 / 3.0, -2.5e-8}) {
    const Node node = type_plain_scalar(number_text(value));
    EXPECT_EQ(node.kind, Kind::number) << number_text(value);
    EXPECT_EQ(node.number, value);
    EXPECT_EQ(std::signbit(node.number), std::signbit(value));
  }
  EXPECT_EQ(number_text(1.0), "1.0");
  EXPECT_EQ(number_text(std::numeric_limits<double>::infinity()), ".inf");
  EXPECT_EQ(number_text(-std::numeric_limits<double>::infinity()), "-.inf");
  EXPECT_EQ(number_text(std::numeric_limits<double>::quiet_NaN()), ".nan");
}

TEST(InQuotes, ReadsBackToTheSameText) {
  for (const std::string& text :
       {std::string(), std::string("a\"b\\c"), std::string("tab\tline\nreturn\r"),
        std::string("\x01\x1f\x7f"), std::string("\u00e4\u20ac\U0001F600"),
        std::string("\u0085\u2028\u2029\ufeff"), std::string("  spaces  "),
        std::string("# no comment: {x}"), std::string("\0", 1)}) {
    EXPECT_EQ(value_in_yaml(in_quotes(text)).text, text) << in_quotes(text);
    EXPECT_EQ(from_json(in_quotes(text)).text, text) << in_quotes(text);
  }
}

}  // namespace
}  // namespace trireme::config
