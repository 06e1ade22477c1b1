#include <trireme/data/open.h>

#include "data/data_file.h"
#include "unit/data/files.h"

#include <thread>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::data {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using testing::Folder;
using ::testing::HasSubstr;
using testing::token_at;

std::vector<int64_t> all_ids(const Dataset& data) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < data.size(); ++i) ids.push_back(i);
  return ids;
}

void expect_equal(const Dataset& a, const Dataset& b) {
  ASSERT_EQ(a.size(), b.size());
  const core::Batch x = a.read(all_ids(a));
  const core::Batch y = b.read(all_ids(b));
  ASSERT_EQ(x.fields.size(), y.fields.size());
  for (size_t i = 0; i < x.fields.size(); ++i) {
    EXPECT_EQ(x.fields[i].name, y.fields[i].name);
    EXPECT_TRUE(at::equal(x.fields[i].values, y.fields[i].values)) << x.fields[i].name;
  }
}

TEST(TokenFile, SampleSpansItsTokensAndTheNext) {
  const Folder folder;
  const std::string path = folder.file("a.h5");
  testing::write_token_file(path, {.count = 101});
  const auto data = open_dataset({path}, 10);
  ASSERT_EQ(data->size(), 10);
  const std::vector<int64_t> ids{9, 0, 4};
  const core::Batch batch = data->read(ids);
  EXPECT_EQ(batch.samples, ids);
  ASSERT_EQ(batch.fields.size(), 2U);
  const at::Tensor tokens = batch.at("tokens");
  const at::Tensor targets = batch.at("targets");
  EXPECT_EQ(tokens.sizes(), (at::IntArrayRef{3, 10}));
  EXPECT_EQ(tokens.scalar_type(), at::kLong);
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t t = 0; t < 10; ++t) {
      EXPECT_EQ(tokens[i][t].item<int64_t>(), token_at(ids[static_cast<size_t>(i)] * 10 + t, 256));
      EXPECT_EQ(targets[i][t].item<int64_t>(),
                token_at(ids[static_cast<size_t>(i)] * 10 + t + 1, 256));
    }
  EXPECT_THAT(data->properties(),
              ElementsAre(std::pair<std::string, int64_t>("vocab_size", 256),
                          std::pair<std::string, int64_t>("sequence_length", 10)));
}

TEST(TokenFile, NumberOfSamplesAtTheEdges) {
  const Folder folder;
  for (const int64_t count : {11, 20, 21, 22, 31}) {
    testing::write_token_file(folder.file("a.h5"), {.count = count});
    EXPECT_EQ(open_dataset({folder.file("a.h5")}, 10)->size(), (count - 1) / 10) << count;
  }
}

TEST(TokenFile, EmptyBatchHasFieldsOfTheRightShape) {
  const Folder folder;
  testing::write_token_file(folder.file("a.h5"));
  const core::Batch batch = open_dataset({folder.file("a.h5")}, 10)->read({});
  EXPECT_EQ(batch.size(), 0);
  EXPECT_EQ(batch.at("tokens").sizes(), (at::IntArrayRef{0, 10}));
}

TEST(TokenFile, AllWidthsAndLayoutsGiveTheSame) {
  const Folder folder;
  testing::write_token_file(folder.file("ref.h5"), {.count = 5000, .vocabulary = 200});
  const auto reference = open_dataset({folder.file("ref.h5")}, 33);
  for (const Element element : {Element::u8, Element::u16, Element::u32})
    for (const int compress : {0, 1, 9}) {
      testing::write_token_file(
          folder.file("x.h5"),
          {.count = 5000, .vocabulary = 200, .element = element, .compress = compress});
      expect_equal(*reference, *open_dataset({folder.file("x.h5")}, 33));
    }
}

TEST(TokenFile, MaskBelongsToTheTargets) {
  const Folder folder;
  for (const int compress : {0, 4}) {
    testing::write_token_file(folder.file("a.h5"),
                              {.count = 100, .compress = compress, .mask = true});
    const core::Batch batch =
        open_dataset({folder.file("a.h5")}, 10)->read(std::vector<int64_t>{3});
    const at::Tensor mask = batch.at("loss_mask");
    EXPECT_EQ(mask.scalar_type(), at::kFloat);
    for (int64_t t = 0; t < 10; ++t)
      EXPECT_EQ(mask[0][t].item<float>(), (30 + t + 1) % 3 != 0 ? 1 : 0);
  }
}

TEST(TokenFile, TooShortForOneSequenceNamesBothLengths) {
  const Folder folder;
  testing::write_token_file(folder.file("a.h5"), {.count = 10});
  const Error error = error_of([&] { (void)open_dataset({folder.file("a.h5")}, 10); });
  EXPECT_EQ(error.kind(), ErrorKind::configuration);
  EXPECT_THAT(error.message(), HasSubstr("has 10 tokens, a sequence of 10 needs 11"));
}

TEST(TokenFile, NeedsASequenceLength) {
  const Folder folder;
  testing::write_token_file(folder.file("a.h5"));
  const Error error = error_of([&] { (void)open_dataset({folder.file("a.h5")}, std::nullopt); });
  EXPECT_EQ(error.kind(), ErrorKind::configuration);
  EXPECT_THAT(error.hint(), HasSubstr("sequence_length"));
}

TEST(TokenFile, TokenOutsideOfTheVocabularyIsDamage) {
  const Folder folder;
  // Within the second sample, and the target of its last token.
  for (const size_t place : {13, 20}) {
    Hdf5Writer writer(folder.file(std::to_string(place)));
    const size_t tokens = writer.create("tokens", Element::u16, {30});
    writer.attribute(tokens, {"vocab_size", int64_t{20}});
    std::vector<uint16_t> values(30, 19);
    values[place] = 20;
    writer.append(tokens, values.data(), 30);
    writer.finish();
    const auto data = open_dataset({folder.file(std::to_string(place))}, 10);
    (void)data->read(std::vector<int64_t>{0});
    const Error error = error_of([&] { (void)data->read(std::vector<int64_t>{1}); });
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
    EXPECT_THAT(error.message(), HasSubstr("token 20 at position " + std::to_string(place)));
  }
}

TEST(TensorFile, FieldsTypesAndProperties) {
  const Folder folder;
  testing::write_image_file(folder.file("a.h5"), 25);
  const auto data = open_dataset({folder.file("a.h5")}, std::nullopt);
  ASSERT_EQ(data->size(), 25);
  const core::Batch batch = data->read(std::vector<int64_t>{24, 3});
  EXPECT_EQ(batch.at("image").scalar_type(), at::kByte);
  EXPECT_EQ(batch.at("image").sizes(), (at::IntArrayRef{2, 3, 4, 5}));
  EXPECT_EQ(batch.at("image")[1][2][3][4].item<int>(), (3 * 31 + 59) % 256);
  EXPECT_EQ(batch.at("label").scalar_type(), at::kLong);
  EXPECT_EQ(batch.at("label").sizes(), (at::IntArrayRef{2}));
  EXPECT_EQ(batch.at("label")[0].item<int64_t>(), 4);
  EXPECT_THAT(data->properties(),
              ::testing::UnorderedElementsAre(std::pair<std::string, int64_t>("channels", 3),
                                              std::pair<std::string, int64_t>("height", 4),
                                              std::pair<std::string, int64_t>("width", 5),
                                              std::pair<std::string, int64_t>("classes", 10)));
}

TEST(TensorFile, MapAndLibraryGiveTheSame) {
  const Folder folder;
  testing::write_image_file(folder.file("map.h5"), 40'000);  // several blocks and chunks
  testing::write_image_file(folder.file("zip.h5"), 40'000, 5);
  EXPECT_TRUE(DataFile::open(folder.file("map.h5"))->at("image").mapped());
  EXPECT_FALSE(DataFile::open(folder.file("zip.h5"))->at("image").mapped());
  expect_equal(*open_dataset({folder.file("map.h5")}, std::nullopt),
               *open_dataset({folder.file("zip.h5")}, std::nullopt));
}

TEST(TensorFile, NumbersBecomeTypesThatModelsTake) {
  const Folder folder;
  Hdf5Writer writer(folder.file("a.h5"));
  const std::vector<double> wide{0.5, 1.5};
  const std::vector<uint32_t> ids{7, 4'000'000'000U};
  const std::vector<int32_t> grid{1, 2, 3, 4};
  writer.append(writer.create("features", Element::f64, {2, 1}), wide.data(), 2);
  writer.append(writer.create("id", Element::u32, {2}), ids.data(), 2);
  writer.append(writer.create("label", Element::i32, {2, 2}), grid.data(), 2);
  writer.append(writer.create("other", Element::i32, {2, 2}), grid.data(), 2);
  writer.finish();
  const core::Batch batch =
      open_dataset({folder.file("a.h5")}, std::nullopt)->read(std::vector<int64_t>{0, 1});
  EXPECT_EQ(batch.at("features").scalar_type(), at::kFloat);
  EXPECT_EQ(batch.at("features")[1][0].item<float>(), 1.5F);
  EXPECT_EQ(batch.at("id")[1].item<int64_t>(), 4'000'000'000);
  EXPECT_EQ(batch.at("label").scalar_type(), at::kLong);
  EXPECT_EQ(batch.at("other").scalar_type(), at::kInt);
}

TEST(TensorFile, DifferentNumbersOfSamplesAreRefused) {
  const Folder folder;
  Hdf5Writer writer(folder.file("a.h5"));
  const std::vector<uint8_t> values(6);
  writer.append(writer.create("image", Element::u8, {3, 2}), values.data(), 3);
  writer.append(writer.create("label", Element::u8, {4}), values.data(), 4);
  writer.finish();
  const Error error = error_of([&] { (void)open_dataset({folder.file("a.h5")}, std::nullopt); });
  EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(error.message(), HasSubstr("`label` has 4"));
}

TEST(SeveralFiles, AreOneAfterTheOther) {
  const Folder folder;
  testing::write_image_file(folder.file("part-0.h5"), 7, 0, 0);
  testing::write_image_file(folder.file("part-1.h5"), 1, 3, 7);
  testing::write_image_file(folder.file("part-2.h5"), 12, 0, 8);
  testing::write_image_file(folder.file("whole.h5"), 20);
  const auto whole = open_dataset({folder.file("whole.h5")}, std::nullopt);
  expect_equal(*whole, *open_dataset({folder.file("part-?.h5")}, std::nullopt));
  expect_equal(
      *whole, *open_dataset({folder.file("part-0.h5"), folder.file("part-[12].h5")}, std::nullopt));
}

TEST(SeveralFiles, ThatDoNotMatchAreRefusedByName) {
  const Folder folder;
  testing::write_image_file(folder.file("a.h5"), 7);
  testing::write_token_file(folder.file("b.h5"));
  testing::write_token_file(folder.file("c.h5"), {.vocabulary = 255});
  const Error kinds = error_of([&] {
    (void)open_dataset({folder.file("a.h5"), folder.file("b.h5")}, 10);
  });
  EXPECT_EQ(kinds.kind(), ErrorKind::configuration);
  EXPECT_THAT(kinds.message(), ::testing::AllOf(HasSubstr("a.h5"), HasSubstr("b.h5")));
  const Error sizes = error_of([&] {
    (void)open_dataset({folder.file("b.h5"), folder.file("c.h5")}, 10);
  });
  EXPECT_EQ(sizes.kind(), ErrorKind::configuration);
}

TEST(SeveralFiles, MissingOnesAreInputMissing) {
  const Folder folder;
  EXPECT_EQ(error_of([&] { (void)open_dataset({folder.file("no.h5")}, 10); }).kind(),
            ErrorKind::input_missing);
  EXPECT_EQ(error_of([&] { (void)open_dataset({folder.file("*.h5")}, 10); }).kind(),
            ErrorKind::input_missing);
  EXPECT_EQ(error_of([&] { (void)open_dataset({folder.file("")}, 10); }).kind(),
            ErrorKind::input_missing);
  EXPECT_EQ(error_of([&] { (void)open_dataset({}, 10); }).kind(), ErrorKind::configuration);
}

TEST(Fingerprint, IsOfTheContents) {
  const Folder folder;
  const auto print = [&](const std::string& name) {
    return open_dataset({folder.file(name)}, 10)->fingerprint();
  };
  testing::write_token_file(folder.file("a.h5"));
  testing::write_token_file(folder.file("same.h5"));
  testing::write_token_file(folder.file("longer.h5"), {.count = 1001});
  testing::write_token_file(folder.file("wider.h5"), {.vocabulary = 257});
  testing::write_token_file(folder.file("zipped.h5"), {.compress = 2});
  EXPECT_EQ(print("a.h5"), print("same.h5"));
  EXPECT_EQ(print("a.h5"), print("zipped.h5"));
  EXPECT_NE(print("a.h5"), print("longer.h5"));
  EXPECT_NE(print("a.h5"), print("wider.h5"));
  EXPECT_EQ(print("a.h5").size(), 32U);
}

TEST(Dataset, ManyThreadsReadAtOnce) {
  const Folder folder;
  for (const int compress : {0, 1}) {
    testing::write_image_file(folder.file("a.h5"), 20'000, compress);
    const auto data = open_dataset({folder.file("a.h5")}, std::nullopt);
    std::vector<std::thread> threads;
    std::vector<int> wrong(4);
    for (size_t i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        for (int64_t s = static_cast<int64_t>(i); s < data->size(); s += 97) {
          const core::Batch batch = data->read(std::vector<int64_t>{s});
          wrong[i] += batch.at("label").item<int64_t>() != s % 10;
          wrong[i] += batch.at("image")[0][0][0][0].item<int>() != s * 31 % 256;
        }
      });
    for (auto& thread : threads) thread.join();
    EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
  }
}

TEST(Inspect, TellsWhatIsInAFile) {
  const Folder folder;
  testing::write_token_file(folder.file("a.h5"), {.mask = true});
  const FileSummary summary = verify_file(folder.file("a.h5"));
  ASSERT_EQ(summary.datasets.size(), 2U);
  EXPECT_EQ(summary.datasets[1].name, "tokens");
  EXPECT_EQ(summary.datasets[1].type, "uint16");
  EXPECT_THAT(summary.datasets[1].shape, ElementsAre(1000));
  EXPECT_TRUE(summary.datasets[1].checksums);
  EXPECT_THAT(summary.datasets[1].attributes,
              ElementsAre(std::pair<std::string, std::string>("vocab_size", "256")));
  EXPECT_EQ(summary.blocks_verified, 2);
}

}  // namespace
}  // namespace trireme::data
