#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/comm/local.h>
#include <trireme/storage/safetensors.h>

#include "unit/checkpoint/state.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

TEST(Checkpoint, AnyNumberOfRanksReadsWhatAnyNumberWrote) {
  const TemporaryFolder folder;
  std::set<std::string> hashes;
  for (int writers = 1; writers <= 4; ++writers) {
    const Committed committed = test::write_state(folder.path(), writers, writers);
    EXPECT_EQ(committed.path, folder / ("step-0000000" + std::to_string(writers)));
    EXPECT_EQ(committed.files, writers + 1);
    EXPECT_EQ(test::files_in(committed.path), static_cast<size_t>(writers + 1));
    int64_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(committed.path))
      bytes += static_cast<int64_t>(file.file_size());
    EXPECT_EQ(committed.bytes, bytes);
    const Reader reader(committed.path);
    EXPECT_EQ(reader.manifest().step, writers);
    EXPECT_EQ(reader.manifest().world_size, writers);
    EXPECT_EQ(reader.manifest().extras.at("config").at("model.name"), "gpt2");
    EXPECT_EQ(reader.manifest().extras.at("rank"), 0);
    for (int readers = 1; readers <= 4; ++readers) test::expect_state(reader, readers);
    reader.verify();
    hashes.insert(state_hash(reader).hex());
  }
  EXPECT_EQ(hashes.size(), 1U) << "the hash of the state does not depend on the ranks";
  EXPECT_EQ(test::files_in(folder.path()), 4U) << "nothing but the checkpoints is left";
}

TEST(Checkpoint, ReaderRanksReadAtTheSameTime) {
  const TemporaryFolder folder;
  const auto committed = test::write_state(folder.path(), 1, 2);
  const Reader shared(committed.path);
  test::spawn_ranks(4, [&](const comm::CommunicatorPtr& all) {
    test::expect_state(shared, all->size());
    test::expect_state(Reader(committed.path), all->size());
  });
}

TEST(Checkpoint, TheStateHashSeesEveryChange) {
  const TemporaryFolder folder;
  const auto comm = comm::make_local_communicator();
  std::set<std::string> hashes;
  int64_t step = 0;
  const auto add = [&](const auto& change) {
    Writer writer;
    change(writer);
    const auto committed = writer.commit(*comm, {folder.path(), step++, "r", {}});
    hashes.insert(state_hash(Reader(committed.path)).hex());
  };
  add([](Writer&) {});
  add([](Writer& w) { w.scalar("a", int64_t{0}); });
  add([](Writer& w) { w.scalar("a", false); });
  add([](Writer& w) { w.scalar("a", 0.0); });
  add([](Writer& w) { w.scalar("a", -0.0); });
  add([](Writer& w) { w.scalar("a", std::string()); });
  add([](Writer& w) { w.scalar("b", int64_t{0}); });
  add([](Writer& w) { w.replicated("a", at::zeros({2})); });
  add([](Writer& w) { w.replicated("a", at::zeros({2, 1})); });
  add([](Writer& w) { w.replicated("a", at::zeros({2}, at::kInt)); });
  add([](Writer& w) { w.replicated("a", at::tensor({0.0F, -0.0F})); });
  add([](Writer& w) { w.replicated("b", at::zeros({2})); });
  add([](Writer& w) { w.replicated("a", at::zeros({0})); });
  EXPECT_EQ(hashes.size(), static_cast<size_t>(step));
}

TEST(Checkpoint, NoByteIsWrittenTwiceAndTheLoadIsShared) {
  const TemporaryFolder folder;
  const Reader reader(test::write_state(folder.path(), 1, 4).path);
  int64_t state_bytes = 0;
  for (const auto& [name, values] : test::tensors_of())
    state_bytes += static_cast<int64_t>(values.nbytes());
  int64_t stored = 0;
  for (const StoredFile& file : reader.manifest().files) {
    const storage::SafetensorsFile shard(reader.path() / file.name);
    EXPECT_EQ(shard.metadata().at("format"), "pt");
    EXPECT_EQ(shard.metadata().at("trireme.step"), "1");
    int64_t bytes = 0;
    for (const auto& entry : shard.entries()) bytes += entry.end - entry.begin;
    EXPECT_LE(bytes, state_bytes / 4 + 4000) << "one row more than its share";
    EXPECT_GE(bytes, state_bytes / 4 - 3 * 4000);
    stored += bytes;
  }
  EXPECT_EQ(stored, state_bytes);
}

TEST(Checkpoint, WholeTensorsKeepTheirNamesInTheShard) {
  const TemporaryFolder folder;
  const storage::SafetensorsFile shard(test::write_state(folder.path(), 1, 1).path /
                                       "shard-00000-of-00001.safetensors");
  EXPECT_NE(shard.find("model/large"), nullptr);
  EXPECT_NE(shard.find("optim/exp_avg/cube[0:2,0:3,0:5]"), nullptr);
  EXPECT_TRUE(at::equal(shard.values(*shard.find("model/w")), test::tensors_of().at("model/w")));
}

TEST(Checkpoint, StridedTensorsAreSaved) {
  const TemporaryFolder folder;
  const auto comm = comm::make_local_communicator();
  const at::Tensor values = at::arange(12, at::kFloat).view({3, 4}).t();
  Writer writer;
  writer.replicated("a", values);
  writer.shard("b", {4, 3}, {{0, 0}, {4, 3}}, values);
  writer.replicated("p", at::ones({3}).requires_grad_(true));
  const Reader reader(writer.commit(*comm, {folder.path(), 0, "r", {}}).path);
  for (const std::string name : {"a", "b"}) {
    const at::Tensor into = at::empty({4, 3});
    reader.read_whole(name, into);
    EXPECT_TRUE(at::equal(into, values));
  }
}

TEST(Checkpoint, ReadingDoesNotBumpTheVersion) {
  const TemporaryFolder folder;
  const Reader reader(test::write_state(folder.path(), 1, 1).path);
  const at::Tensor parameter = at::zeros({3, 5}).requires_grad_(true);
  const auto before = parameter._version();
  reader.read_whole("model/w", parameter);
  EXPECT_EQ(parameter._version(), before);
  EXPECT_TRUE(at::equal(parameter.detach(), test::tensors_of().at("model/w")));
}

TEST(Checkpoint, WhatIsNotInItIsNamed) {
  const TemporaryFolder folder;
  const Reader reader(test::write_state(folder.path(), 1, 1).path);
  const auto refused = [&](const auto& act, const std::string& reason) {
    const Error error = error_of(act);
    EXPECT_EQ(error.kind(), ErrorKind::no_checkpoint);
    EXPECT_THAT(error.message(), HasSubstr(reason));
    EXPECT_THAT(error.message(), HasSubstr(reader.path().native()));
    EXPECT_FALSE(error.hint().empty());
  };
  EXPECT_FALSE(reader.has("none"));
  EXPECT_TRUE(reader.has("trainer/step"));
  refused([&] { (void)reader.scalar("none"); }, "no scalar 'none'");
  refused([&] { (void)reader.shape("none"); }, "no tensor 'none'");
  refused([&] { reader.read("none", {{}, {}}, at::zeros({})); }, "no tensor 'none'");
  refused(
      [&] {
        reader.read_whole("model/w", at::zeros({3, 5}, at::kHalf));
      },
      "tensor 'model/w' is F32, not Half");
  const auto broken = [&](const core::Box& box, const at::Tensor& into) {
    EXPECT_EQ(error_of([&] { reader.read("model/w", box, into); }).kind(), ErrorKind::unexpected);
  };
  broken({{0, 0}, {3, 5}}, at::zeros({5, 3}));
  broken({{0, 0}, {3, 5}}, at::zeros({5, 3}).t());
  broken({{1, 0}, {3, 5}}, at::zeros({3, 5}));
  broken({{0}, {3}}, at::zeros({3}));
}

TEST(Checkpoint, TheWriterRefusesWhatCannotBe) {
  const at::Tensor ones = at::ones({2, 2});
  const auto broken = [&](const auto& act) {
    Writer writer;
    writer.scalar("s", true);
    writer.replicated("r", ones);
    writer.shard("x", {2, 4}, {{0, 0}, {2, 2}}, ones);
    EXPECT_EQ(error_of([&] { act(writer); }).kind(), ErrorKind::unexpected);
  };
  broken([&](Writer& w) { w.scalar("s", false); });
  broken([&](Writer& w) { w.replicated("r", ones); });
  broken([&](Writer& w) { w.replicated("x", ones); });
  broken([&](Writer& w) { w.shard("r", {2, 2}, {{0, 0}, {2, 2}}, ones); });
  broken([&](Writer& w) { w.shard("x", {2, 5}, {{0, 2}, {2, 2}}, ones); });
  broken([&](Writer& w) { w.shard("x", {2, 4}, {{0, 3}, {2, 2}}, ones); });
  broken([&](Writer& w) { w.shard("x", {2, 4}, {{0, 2}, {2, 1}}, ones); });
  broken([&](Writer& w) { w.replicated("u", at::Tensor()); });
  broken([&](Writer& w) { w.replicated("u\xff", ones); });
  broken([&](Writer& w) { w.replicated("u", ones.to(at::kComplexDouble)); });
}

}  // namespace
}  // namespace trireme::checkpoint
