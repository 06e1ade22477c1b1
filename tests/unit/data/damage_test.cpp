#include <trireme/core/random.h>
#include <trireme/data/open.h>

#include "data/data_file.h"
#include "data/isolated.h"
#include "unit/data/files.h"

#include <atomic>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::data {
namespace {

using ::testing::AllOf;
using testing::error_of;
using testing::Folder;
using ::testing::HasSubstr;
using testing::slurp;
using testing::spill;

/// Opens the file and reads all of it as tokens; empty if an Error of an expected kind says that
/// something is wrong.
std::vector<int64_t> tokens_of(const std::string& path) {
  try {
    const auto data = open_dataset({path}, 100);
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < data->size(); ++i) ids.push_back(i);
    const at::Tensor tokens = data->read(ids).at("tokens");
    return {tokens.data_ptr<int64_t>(), tokens.data_ptr<int64_t>() + tokens.numel()};
  } catch (const Error& error) {
    const bool expected =
        error.kind() == ErrorKind::data_damaged || error.kind() == ErrorKind::input_missing ||
        error.kind() == ErrorKind::configuration || error.kind() == ErrorKind::environment;
    EXPECT_TRUE(expected) << error.what();
    EXPECT_FALSE(error.hint().empty());
    return {};
  }
}

TEST(Damage, WhatIsNoHdf5File) {
  const Folder folder;
  spill(folder.file("text.h5"), "hello, this is text and long enough to hold a signature");
  spill(folder.file("empty.h5"), "");
  for (const char* name : {"text.h5", "empty.h5"}) {
    const Error error = error_of([&] { (void)open_dataset({folder.file(name)}, 10); });
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
    EXPECT_THAT(error.message(), HasSubstr(name));
    EXPECT_THAT(error.hint(), HasSubstr("trireme prepare"));
  }
}

TEST(Damage, TruncatedAtAnyLengthIsAnError) {
  const Folder folder;
  const std::string path = folder.file("a.h5");
  for (const int compress : {0, 6}) {
    testing::write_token_file(path, {.count = 3001, .compress = compress});
    const std::string whole = slurp(path);
    ASSERT_FALSE(tokens_of(path).empty());
    std::vector<size_t> lengths;
    for (size_t length = 0; length < whole.size(); length += 211) lengths.push_back(length);
    for (size_t back = 1; back <= 16; ++back) lengths.push_back(whole.size() - back);
    for (const size_t length : lengths) {
      spill(path, whole.substr(0, length));
      EXPECT_TRUE(tokens_of(path).empty()) << length << " of " << whole.size();
    }
  }
}

TEST(Damage, AFlippedByteNeverGivesOtherTokens) {
  const Folder folder;
  const std::string path = folder.file("a.h5");
  for (const int compress : {0, 6}) {
    testing::write_token_file(path, {.count = 3001, .compress = compress});
    const std::string whole = slurp(path);
    const std::vector<int64_t> tokens = tokens_of(path);
    const core::RandomKey key(static_cast<uint64_t>(compress));
    int refused = 0;
    for (uint64_t i = 0; i < 250; ++i) {
      std::string mutant = whole;
      // The library's structures are a small part of the file: aim half of the flips at its first
      // and last pages.
      size_t place = key.below(whole.size(), 3 * i);
      if (i % 4 == 1) place = key.below(1024, 3 * i);
      if (i % 4 == 3) place = whole.size() - 1 - key.below(2048, 3 * i);
      mutant[place] =
          static_cast<char>(mutant[place] ^ static_cast<char>(1 + key.below(255, 3 * i + 1)));
      spill(path, mutant);
      const std::vector<int64_t> read = tokens_of(path);
      refused += read.empty();
      EXPECT_TRUE(read.empty() || read == tokens) << "byte " << place;
    }
    EXPECT_GT(refused, 20);
  }
}

TEST(Damage, AFlippedByteOfTheDataNamesFileDatasetAndBlock) {
  const Folder folder;
  const std::string path = folder.file("a.h5");
  testing::write_image_file(path, 60'000);  // 3.6 MB: four blocks
  const int64_t offset = DataFile::open(path)->at("image").description().offset;
  std::string bytes = slurp(path);
  bytes[static_cast<size_t>(offset) + (1 << 20) + 5] ^= 1;
  spill(path, bytes);
  const auto data = open_dataset({path}, std::nullopt);  // first and last block are sound
  (void)data->read(std::vector<int64_t>{0, 100, 59'999});
  const std::vector<int64_t> inside{(1 << 20) / 60 + 3};
  for (int i = 0; i < 2; ++i) {
    const Error error = error_of([&] { (void)data->read(inside); });
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
    EXPECT_THAT(error.message(),
                AllOf(HasSubstr(path), HasSubstr("`image`"), HasSubstr("block 1 ")));
  }
  const Error verified = error_of([&] { (void)verify_file(path); });
  EXPECT_EQ(verified.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(verified.message(), HasSubstr("block 1 "));
}

TEST(Damage, InTheFirstBlockIsFoundWhenOpening) {
  const Folder folder;
  const std::string path = folder.file("a.h5");
  testing::write_token_file(path);
  std::string bytes = slurp(path);
  bytes[static_cast<size_t>(DataFile::open(path)->at("tokens").description().offset) + 7] ^= 16;
  spill(path, bytes);
  EXPECT_EQ(error_of([&] { (void)open_dataset({path}, 10); }).kind(), ErrorKind::data_damaged);
}

TEST(Damage, OfCompressedDataIsFoundByVerification) {
  const Folder folder;
  const std::string path = folder.file("a.h5");
  testing::write_image_file(path, 60'000, 1);
  (void)verify_file(path);
  std::string bytes = slurp(path);
  for (size_t i = 0; i < 64; ++i) bytes[bytes.size() / 2 + i] ^= 0x55;
  spill(path, bytes);
  EXPECT_EQ(error_of([&] { (void)verify_file(path); }).kind(), ErrorKind::data_damaged);
}

TEST(Damage, AChangedAttributeIsFound) {
  const Folder folder;
  const std::string path = folder.file("a.h5");
  testing::write_token_file(path, {.vocabulary = 0x1234567});
  std::string bytes = slurp(path);
  const std::string stored("\x67\x45\x23\x01\0\0\0\0", 8);
  const size_t place = bytes.find(stored);
  ASSERT_NE(place, std::string::npos);
  bytes[place] = 0x68;
  spill(path, bytes);
  EXPECT_EQ(error_of([&] { (void)open_dataset({path}, 10); }).kind(), ErrorKind::data_damaged);
}

TEST(WrongContents, AreNamed) {
  const Folder folder;
  const auto refusal = [&](const std::string& dataset, Element element,
                           const std::vector<int64_t>& shape,
                           const std::optional<Attribute>& attribute) {
    Hdf5Writer writer(folder.file("x.h5"));
    const size_t id = writer.create(dataset, element, shape);
    if (attribute) writer.attribute(id, *attribute);
    const std::vector<uint64_t> values(1000);
    writer.append(id, values.data(), shape[0]);
    writer.finish();
    return error_of([&] { (void)open_dataset({folder.file("x.h5")}, 10); });
  };
  const Attribute vocabulary{"vocab_size", int64_t{10}};
  const Error rank = refusal("tokens", Element::u16, {100, 2}, vocabulary);
  EXPECT_EQ(rank.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(rank.message(), HasSubstr("2 dimensions"));
  const Error type = refusal("tokens", Element::f32, {100}, vocabulary);
  EXPECT_EQ(type.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(type.message(), HasSubstr("float32"));
  const Error attribute = refusal("tokens", Element::u16, {100}, std::nullopt);
  EXPECT_EQ(attribute.kind(), ErrorKind::input_missing);
  EXPECT_THAT(attribute.message(), HasSubstr("vocab_size"));
  const Error range = refusal("tokens", Element::u16, {100}, Attribute{"vocab_size", int64_t{-1}});
  EXPECT_EQ(range.kind(), ErrorKind::data_damaged);
}

TEST(WrongContents, MissingDatasetListsThoseThereAre) {
  const Folder folder;
  testing::write_image_file(folder.file("a.h5"), 3);
  const auto file = DataFile::open(folder.file("a.h5"));
  const Error error = error_of([&] { (void)file->at("tokens"); });
  EXPECT_EQ(error.kind(), ErrorKind::input_missing);
  EXPECT_THAT(error.message(), HasSubstr("image, label"));
}

TEST(FileDescription, ImpossibleNumbersAreRefused) {
  FileDescription file;
  file.path = "x.h5";
  file.file_bytes = 1000;
  DatasetDescription d;
  d.name = "tokens";
  d.element = Element::u16;
  d.shape = {100};
  d.offset = 801;
  const auto refused = [&](const DatasetDescription& dataset) {
    file.datasets = {dataset};
    return error_of([&] { validate(file); }).kind() == ErrorKind::data_damaged;
  };
  EXPECT_TRUE(refused(d));
  d.offset = 800;
  file.datasets = {d};
  EXPECT_NO_THROW(validate(file));
  d.offset = 2000;
  EXPECT_TRUE(refused(d));
  d.shape = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_TRUE(refused(d));
  d.shape = {-1};
  EXPECT_TRUE(refused(d));
}

TEST(FileDescription, SurvivesTheWayThroughThePipe) {
  const Folder folder;
  testing::write_image_file(folder.file("a.h5"), 3);
  const FileDescription file = describe_hdf5(folder.file("a.h5"));
  const std::string bytes = encode(file);
  EXPECT_EQ(encode(decode(bytes)), bytes);
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THROW((void)decode(bytes.substr(0, length)), Error);
}

TEST(Isolated, ReturnsResultsAndErrors) {
  std::mutex mutex;
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(run_isolated("p", mutex, {}, [&] { return large; }), large);
  const Error error = error_of([&] {
    (void)run_isolated("p", mutex, {},
                       []() -> std::string { throw Error(ErrorKind::environment, "what", "why"); });
  });
  EXPECT_EQ(error.kind(), ErrorKind::environment);
  EXPECT_EQ(error.message(), "what");
  EXPECT_EQ(error.hint(), "why");
}

TEST(Isolated, CrashesLoopsAndGreedAreDamage) {
  std::mutex mutex;
  const std::vector<std::function<std::string()>> bad{
      []() -> std::string { std::abort(); }, []() -> std::string { ::_exit(0); },
      []() -> std::string {
        for (std::atomic<int> turns = 0;;) ++turns;
      },
      [] {
        return std::string(std::size_t{3} << 30, 'x');
      }};
  for (const auto& work : bad) {
    const Error error =
        error_of([&] { (void)run_isolated("some.h5", mutex, {.cpu_seconds = 1}, work); });
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace
}  // namespace trireme::data
