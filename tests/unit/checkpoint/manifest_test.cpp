#include <trireme/checkpoint/manifest.h>

#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

using test::error_of;
using testing::HasSubstr;
using Json = nlohmann::json;

Manifest example() {
  Manifest manifest;
  manifest.step = 1200;
  manifest.world_size = 2;
  manifest.run_id = "job-7";
  manifest.extras = {{"config", {{"model.name", "gpt2"}}}};
  manifest.files = {{"shard-00000-of-00002.safetensors", 100, {1, 2}, {3, 4}},
                    {"shard-00001-of-00002.safetensors", 200, {5, 6}, {7, 8}}};
  manifest.scalars = {{"step", int64_t{1200}}, {"lr", 1e-4}, {"x", std::string("y")}};
  manifest.tensors["a"] = {
      at::ScalarType::Float,
      {4, 2},
      {{{{0, 0}, {3, 2}}, 0, "a[0:3,0:2]", {1, 1}}, {{{3, 0}, {1, 2}}, 1, "a[3:1,0:2]", {2, 2}}}};
  manifest.tensors["none"] = {at::ScalarType::Long, {0}, {}};
  return manifest;
}

/// The text with a valid hash.
std::string signed_text(const Json& json) {
  std::string text = json.dump();
  text.pop_back();
  return text + ",\n\"hash\": \"" + storage::hash_of(text).hex() + "\"\n}\n";
}

Json unsigned_json() {
  Json json = Json::parse(to_text(example()));
  json.erase("hash");
  return json;
}

TEST(Manifest, GoesBothWays) {
  const std::string text = to_text(example());
  const Manifest back = parse_manifest(text, "m");
  EXPECT_EQ(to_text(back), text);
  EXPECT_EQ(back.step, 1200);
  EXPECT_EQ(back.scalars, example().scalars);
  EXPECT_EQ(back.tensors.at("a").boxes[1].box, example().tensors.at("a").boxes[1].box);
  EXPECT_EQ(back.files[1].header_hash, (storage::Hash128{7, 8}));
  const Json json = Json::parse(text);
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(to_text(parse_manifest(to_text(Manifest()), "m")), to_text(Manifest()));
}

TEST(Manifest, EveryFlippedBitIsNoticed) {
  const std::string good = to_text(example());
  for (size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      const Error error = error_of([&] { (void)parse_manifest(bad, "here/manifest.json"); });
      ASSERT_EQ(error.kind(), ErrorKind::no_checkpoint);
      ASSERT_THAT(error.message(), HasSubstr("here/manifest.json: not valid: it"));
    }
}

TEST(Manifest, EveryTruncationAndEveryAdditionIsNoticed) {
  const std::string good = to_text(example());
  for (size_t size = 0; size < good.size(); ++size)
    ASSERT_EQ(error_of([&] { (void)parse_manifest(good.substr(0, size), "m"); }).kind(),
              ErrorKind::no_checkpoint);
  for (const std::string& more : {std::string(" "), std::string("\n"), std::string(1, '\0')})
    EXPECT_EQ(error_of([&] { (void)parse_manifest(good + more, "m"); }).kind(),
              ErrorKind::no_checkpoint);
}

TEST(Manifest, AValidHashDoesNotMakeNonsenseValid) {
  (void)parse_manifest(signed_text(unsigned_json()), "m");
  const auto refused = [](const std::string& reason, const auto& change) {
    Json json = unsigned_json();
    change(json);
    const Error error = error_of([&] { (void)parse_manifest(signed_text(json), "m"); });
    EXPECT_EQ(error.kind(), ErrorKind::no_checkpoint) << reason;
    EXPECT_THAT(error.message(), HasSubstr(reason));
  };
  refused("it has schema 2, this version reads 1", [](Json& j) { j["schema"] = 2; });
  refused("schema", [](Json& j) { j.erase("schema"); });
  refused("'step' is no count", [](Json& j) { j["step"] = -1; });
  refused("'step' is no count", [](Json& j) { j["step"] = 1.0; });
  refused("'step' is no count", [](Json& j) { j["step"] = UINT64_MAX; });
  refused("run_id", [](Json& j) { j.erase("run_id"); });
  refused("extras", [](Json& j) { j.erase("extras"); });
  refused("no name of a shard", [](Json& j) { j["files"][0]["name"] = "shard-/../x.safetensors"; });
  refused("no name of a shard", [](Json& j) { j["files"][0]["name"] = "/etc/passwd"; });
  refused("is listed twice", [](Json& j) { j["files"][1]["name"] = j["files"][0]["name"]; });
  refused("'bytes' is no count", [](Json& j) { j["files"][0]["bytes"] = "1"; });
  refused("'hash' is no hash", [](Json& j) { j["files"][0]["hash"] = "12"; });
  refused("type must be string", [](Json& j) { j["files"][0]["hash"] = 12; });
  refused("a value is no scalar", [](Json& j) { j["scalars"]["lr"] = Json::array(); });
  refused("a whole number is too large", [](Json& j) { j["scalars"]["lr"] = UINT64_MAX; });
  refused("tensor 'a': has an unknown dtype", [](Json& j) { j["tensors"]["a"]["dtype"] = "F33"; });
  refused("tensor 'a': 2 of 10 elements are in no box", [](Json& j) {
    j["tensors"]["a"]["shape"] = {5, 2};
  });
  refused("tensor 'a': has the box [3:1,0:2] outside", [](Json& j) {
    j["tensors"]["a"]["shape"] = {3, 2};
  });
  refused("tensor 'a': has the box [0:3,0:2] outside",
          [](Json& j) { j["tensors"]["a"]["shape"] = {8}; });
  refused("tensor 'a': has a shape that is too large", [](Json& j) {
    j["tensors"]["a"]["shape"] = {INT64_MAX, INT64_MAX};
  });
  refused("is no list of sizes", [](Json& j) { j["tensors"]["a"]["shape"] = 8; });
  refused("is no list of sizes",
          [](Json& j) { j["tensors"]["a"]["shape"] = std::vector<int64_t>(65, 1); });
  refused("in a file that is not listed",
          [](Json& j) { j["tensors"]["a"]["boxes"][0]["file"] = 2; });
  refused("has an empty box", [](Json& j) { j["tensors"]["a"]["boxes"][0]["size"] = {0, 2}; });
  refused("overlap", [](Json& j) { j["tensors"]["a"]["boxes"][1]["offset"] = {2, 0}; });
  refused("2 of 8 elements are in no box", [](Json& j) { j["tensors"]["a"]["boxes"].erase(1); });
  refused("entry", [](Json& j) { j["tensors"]["a"]["boxes"][0].erase("entry"); });
  refused("nested too deep", [](Json& j) {
    Json deep = 1;
    for (int i = 0; i < 100; ++i) deep = Json::array({deep});
    j["extras"] = deep;
  });
  EXPECT_EQ(error_of([&] {
              (void)parse_manifest(signed_text(Json::array({1, 2})), "m");
            }).kind(),
            ErrorKind::no_checkpoint);
}

TEST(Manifest, AFolderWithoutOneIsNoCheckpoint) {
  const test::TemporaryFolder folder;
  const Error none = error_of([&] { (void)read_manifest(folder / "none"); });
  EXPECT_EQ(none.kind(), ErrorKind::no_checkpoint);
  EXPECT_THAT(none.message(), HasSubstr((folder / "none").native()));
  EXPECT_THAT(none.hint(), HasSubstr("manifest.json"));
  const Error empty = error_of([&] { (void)read_manifest(folder.path()); });
  EXPECT_EQ(empty.kind(), ErrorKind::no_checkpoint);
  EXPECT_THAT(empty.message(), HasSubstr("there is no manifest"));
  test::put(folder / "manifest.json", "");
  EXPECT_EQ(error_of([&] { (void)read_manifest(folder.path()); }).kind(), ErrorKind::no_checkpoint);
}

}  // namespace
}  // namespace trireme::checkpoint
