#include "storage/safetensors_header.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::storage {
namespace {

struct Case {
  std::string json;
  uint64_t data_bytes;
  std::string reason;  // a part of it; empty: accepted
};

std::string tensor(const std::string& name, const std::string& rest) {
  return "{\"" + name + "\":{" + rest + "}}";
}

const std::string f32_2 = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";

std::vector<Case> cases() {
  std::vector<Case> all{
      // Accepted.
      {"{}", 0, ""},
      {"{}   ", 0, ""},
      {tensor("a", f32_2), 8, ""},
      {tensor("", f32_2), 8, ""},
      {"{\"__metadata__\":{\"format\":\"pt\"}," + tensor("a", f32_2).substr(1), 8, ""},
      {R"({"__metadata__":{}})", 0, ""},
      {tensor("a", R"("shape":[],"data_offsets":[0,8],"dtype":"I64")"), 8, ""},
      {tensor("a", R"("dtype":"F32","shape":[0,5],"data_offsets":[0,0])"), 0, ""},
      {tensor("a", f32_2 + R"(,"extra":{"x":[1,{"dtype":2}],"y":null},"more":-1.5)"), 8, ""},
      {R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},
           "z":{"dtype":"F32","shape":[0],"data_offsets":[2,2]},
           "a":{"dtype":"BOOL","shape":[1,2],"data_offsets":[0,2]}})",
       3, ""},
      // The text.
      {"", 0, "not a JSON object"},
      {"[]", 0, "not a JSON object"},
      {"\"a\"", 0, "not a JSON object"},
      {" {}", 0, "not a JSON object"},
      {"\xEF\xBB\xBF{}", 0, "not a JSON object"},
      {std::string("{}\0", 3), 0, "not a JSON object"},
      {std::string("{}\0{", 4), 0, "not a JSON object"},
      {"{", 0, "not JSON at its byte"},
      {"{}}", 0, "not JSON at its byte"},
      {"{} {}", 0, "not JSON at its byte"},
      {"{,}", 0, "not JSON at its byte"},
      {"{/**/}", 0, "not JSON at its byte"},
      {"{\"a\xff\":1}", 0, "not JSON at its byte"},
      {tensor("a", f32_2 + ","), 8, "not JSON at its byte"},
      {tensor("a", R"("dtype":"F32","shape":[02],"data_offsets":[0,8])"), 8, "not JSON"},
      {tensor("a", R"("dtype":"F32","shape":[2,],"data_offsets":[0,8])"), 8, "not JSON"},
      {tensor("a", R"("dtype":"F32","shape":[NaN],"data_offsets":[0,8])"), 8, "not JSON"},
      // Structure.
      {R"({"a":1})", 0, "'a' is a number, not an object"},
      {R"({"a":null})", 0, "'a' is null"},
      {R"({"a":[]})", 0, "'a' is an array"},
      {R"({"a":{)" + f32_2 + R"(},"a":{)" + f32_2 + "}}", 8, "'a' is given twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "__metadata__ is given twice"},
      {R"({"__metadata__":{"a":"1","a":"1"}})", 0, "__metadata__ has 'a' twice"},
      {R"({"__metadata__":{"a":1}})", 0, "__metadata__ holds a number"},
      {R"({"__metadata__":{"a":{}}})", 0, "__metadata__ holds an object"},
      {R"({"__metadata__":{"a":[]}})", 0, "__metadata__ holds an array"},
      {R"({"__metadata__":"pt"})", 0, "is a string"},
      {tensor("a", R"("shape":[2],"data_offsets":[0,8])"), 8, "has no dtype"},
      {tensor("a", R"("dtype":"F32","data_offsets":[0,8])"), 8, "has no shape"},
      {tensor("a", R"("dtype":"F32","shape":[2])"), 8, "has no data_offsets"},
      {tensor("a", f32_2 + R"(,"dtype":"F32")"), 8, "has 'dtype' twice"},
      {tensor("a", f32_2 + R"(,"shape":[2])"), 8, "has 'shape' twice"},
      {tensor("a", R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"), 8, "unknown dtype 'F31'"},
      {tensor("a", R"("dtype":"f32","shape":[2],"data_offsets":[0,8])"), 8, "unknown dtype"},
      {tensor("a", R"("dtype":4,"shape":[2],"data_offsets":[0,8])"), 8, "a number where"},
      {tensor("a", R"("dtype":["F32"],"shape":[2],"data_offsets":[0,8])"), 8, "an array where"},
      {tensor("a", R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), 8, "a number where"},
      {tensor("a", R"("dtype":"F32","shape":"2","data_offsets":[0,8])"), 8, "a string where"},
      {tensor("a", R"("dtype":"F32","shape":{},"data_offsets":[0,8])"), 8, "an object where"},
      {tensor("a", R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])"), 8, "an array where"},
      {tensor("a", R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8, "a negative number"},
      {tensor("a", R"("dtype":"F32","shape":[-0],"data_offsets":[0,0])"), 0, "a negative number"},
      {tensor("a", R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), 8, "a fraction"},
      {tensor("a", R"("dtype":"F32","shape":[true],"data_offsets":[0,8])"), 8, "a boolean"},
      {tensor("a", R"("dtype":"F32","shape":["2"],"data_offsets":[0,8])"), 8, "a string where"},
      {tensor("a", R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8])"), 8,
       "a fraction or huge"},
      {tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":[0])"), 8, "fewer than two"},
      {tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), 8, "more than two"},
      {tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":[0,8.0])"), 8, "a fraction"},
      {tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":{"0":8})"), 8, "an object where"},
      // Sizes.
      {tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8, "impossible"},
      {tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615])"), 8,
       "impossible"},
      {tensor("a", R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8,
       "needs 12 bytes and has 8"},
      {tensor("a", R"("dtype":"F64","shape":[2],"data_offsets":[0,8])"), 8,
       "needs 16 bytes and has 8"},
      {tensor("a", R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8])"), 8,
       "dimension that is too large"},
      {tensor("a", R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), 0,
       "shape that is too large"},
      {tensor("a", R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])"), 0,
       "shape that is too large"},
      {tensor("a", R"("dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0])"), 0,
       "shape that is too large"},
      {tensor("a", f32_2), 9, "take 8 bytes and the file has 9"},
      {tensor("a", f32_2), 7, "take 8 bytes and the file has 7"},
      {"{}", 1, "take 0 bytes and the file has 1"},
      {tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":[4,12])"), 12, "a hole of 4 bytes"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
           "b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
       7, "'b' overlaps"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
           "b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
       4, "'b' overlaps"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
           "b":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}})",
       8, "'b' leaves a hole of 1 bytes"},
  };
  std::string many = "1";
  for (int i = 0; i < 64; ++i) many += ",1";
  all.push_back({tensor("a", "\"dtype\":\"U8\",\"shape\":[" + many + "],\"data_offsets\":[0,1]"), 1,
                 "more than 64 dimensions"});
  all.push_back({tensor("a", f32_2 + ",\"x\":" + std::string(100'000, '[')), 8, "not JSON"});
  all.push_back(
      {tensor("a", f32_2 + ",\"x\":" + std::string(100'000, '[') + std::string(100'000, ']')), 8,
       ""});
  return all;
}

TEST(SafetensorsHeader, AcceptsAndRefuses) {
  int accepted = 0, refused = 0;
  for (const Case& one : cases()) {
    try {
      (void)parse_safetensors_header(one.json, one.data_bytes);
      EXPECT_EQ(one.reason, "") << one.json.substr(0, 200);
      ++accepted;
    } catch (const HeaderRefused& error) {
      EXPECT_NE(one.reason, "") << one.json.substr(0, 200) << ": " << error.reason;
      EXPECT_THAT(error.reason, testing::HasSubstr(one.reason)) << one.json.substr(0, 200);
      ++refused;
    }
  }
  EXPECT_EQ(accepted, 11);
  EXPECT_GE(refused, 60);
}

TEST(SafetensorsHeader, EntriesAreInTheOrderOfTheirPlaces) {
  const SafetensorsHeader header = parse_safetensors_header(
      R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},"__metadata__":{"k":"v"},
          "a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})",
      9);
  ASSERT_EQ(header.entries.size(), 2U);
  EXPECT_EQ(header.entries[0].name, "a");
  EXPECT_EQ(header.entries[0].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(header.entries[0].dtype, at::kFloat);
  EXPECT_EQ(header.entries[1].begin, 8);
  EXPECT_EQ(header.metadata.at("k"), "v");
}

TEST(SafetensorsHeader, EveryCutAndEveryFlipIsHandled) {
  const std::string good =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},)"
      R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})";
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW((void)parse_safetensors_header(good.substr(0, size), 9), HeaderRefused) << size;
  int accepted = 0;
  for (size_t i = 0; i < good.size(); ++i)
    for (int value = 0; value < 256; ++value) {
      std::string bad = good;
      bad[i] = static_cast<char>(value);
      try {
        for (const SafetensorsEntry& e : parse_safetensors_header(bad, 9).entries) {
          EXPECT_GE(e.begin, 0);
          EXPECT_LE(e.end, 9);
        }
        ++accepted;
      } catch (const HeaderRefused&) {
      }
    }
  EXPECT_GT(accepted, 0) << "names may change";
}

}  // namespace
}  // namespace trireme::storage
