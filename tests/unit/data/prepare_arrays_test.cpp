#include <trireme/data/open.h>
#include <trireme/data/prepare.h>

#include "data/csv_row.h"
#include "data/data_file.h"
#include "unit/data/files.h"

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace trireme::data {
namespace {

using ::testing::AllOf;
using testing::bytes;
using testing::contents;
using ::testing::ElementsAre;
using testing::error_of;
using testing::Folder;
using ::testing::HasSubstr;
using testing::slurp;
using testing::spill;

std::string idx(const std::vector<uint32_t>& shape, size_t data, uint8_t type = 8) {
  std::string out{0, 0, static_cast<char>(type), static_cast<char>(shape.size())};
  for (const uint32_t size : shape)
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  for (size_t i = 0; i < data; ++i) out += static_cast<char>(i % 7);
  return out;
}

void spill_gzip(const std::string& path, const std::string& content) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
}

TEST(PrepareIdx, PlainAndGzipGiveTheSame) {
  const Folder folder;
  const std::string images = idx({20, 4, 3}, 240);
  const std::string labels = idx({20}, 20);
  spill(folder.file("i"), images);
  spill(folder.file("l"), labels);
  spill_gzip(folder.file("i.gz"), images);
  spill_gzip(folder.file("l.gz"), labels);
  const Prepared plain =
      prepare_idx({folder.file("i"), folder.file("l")}, {.output = folder.file("a.h5")});
  (void)prepare_idx({folder.file("i.gz"), folder.file("l.gz")}, {.output = folder.file("b.h5")});
  EXPECT_EQ(plain.samples, 20);
  EXPECT_EQ(slurp(folder.file("a.h5")), slurp(folder.file("b.h5")));
  const auto data = open_dataset({folder.file("a.h5")}, std::nullopt);
  const core::Batch batch = data->read(std::vector<int64_t>{19});
  EXPECT_EQ(batch.at("image").sizes(), (at::IntArrayRef{1, 1, 4, 3}));
  EXPECT_EQ(batch.at("image")[0][0][3][2].item<int>(), 239 % 7);
  EXPECT_EQ(batch.at("label").item<int64_t>(), 19 % 7);
  EXPECT_THAT(data->properties(),
              ::testing::Contains(std::pair<std::string, int64_t>("classes", 7)));
}

TEST(PrepareIdx, MalformedInputsAreNamedAndLeaveNothing) {
  const Folder folder;
  const std::string good_images = idx({20, 4, 3}, 240);
  const std::string good_labels = idx({20}, 20);
  const auto refusal = [&](const std::string& images, const std::string& labels) {
    spill(folder.file("i"), images);
    spill(folder.file("l"), labels);
    return error_of([&] {
      (void)prepare_idx({folder.file("i"), folder.file("l")}, {.output = folder.file("a.h5")});
    });
  };
  for (const auto& [images, labels] : std::vector<std::pair<std::string, std::string>>{
           {good_images.substr(0, 200), good_labels},
           {good_images.substr(0, 9), good_labels},
           {good_images + "x", good_labels},
           {good_images, good_labels.substr(0, 20)},
           {good_images, good_labels + "x"},
           {good_images, idx({19}, 19)},
           {idx({20, 4}, 80), good_labels},
           {idx({20, 4, 3}, 240, 13), good_labels},
           {idx({20, 0, 3}, 0), good_labels},
           {idx({0, 4, 3}, 0), idx({0}, 0)},
           {good_images, idx({0xffffffff}, 100)},
           {idx({20, 65536, 65536, 65536}, 10), good_labels},
           {"text instead", good_labels},
           {"", good_labels}}) {
    const Error error = refusal(images, labels);
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged) << error.what();
    EXPECT_THAT(error.message(), HasSubstr(folder.file("")));
    EXPECT_THAT(folder.names(), ElementsAre("i", "l"));
  }
  const Error missing = error_of([&] {
    (void)prepare_idx({folder.file("none"), folder.file("l")}, {.output = folder.file("a.h5")});
  });
  EXPECT_EQ(missing.kind(), ErrorKind::input_missing);
}

TEST(PrepareIdx, DamagedGzipIsDamage) {
  const Folder folder;
  std::string noise;
  for (int i = 0; i < 200; ++i) noise += static_cast<char>(i * i * 31 % 251);
  spill_gzip(folder.file("l.gz"), idx({200}, 0) + noise);
  spill(folder.file("i"), idx({200, 2, 2}, 800));
  const std::string packed = slurp(folder.file("l.gz"));
  const auto prepare = [&] {
    (void)prepare_idx({folder.file("i"), folder.file("l.gz")}, {.output = folder.file("a.h5")});
  };
  // From the end of gzip's header (10 bytes), which zlib takes with other flags and times.
  for (size_t i = 10; i < packed.size(); i += 5) {
    std::string damaged = packed;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x41);
    spill(folder.file("l.gz"), damaged);
    EXPECT_EQ(error_of(prepare).kind(), ErrorKind::data_damaged) << "byte " << i;
  }
  spill(folder.file("l.gz"), packed);
  EXPECT_NO_THROW(prepare());
}

TEST(CsvRow, Cells) {
  const auto cells = [](std::string_view line) {
    std::vector<std::string> out;
    EXPECT_TRUE(split_csv_row(line, ',', out)) << line;
    return out;
  };
  EXPECT_THAT(cells("a,b,c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(cells("a,,"), ElementsAre("a", "", ""));
  EXPECT_THAT(cells("\"a,\"\"b\"\"\",c"), ElementsAre("a,\"b\"", "c"));
  EXPECT_THAT(cells("\"\",1"), ElementsAre("", "1"));
  std::vector<std::string> out;
  EXPECT_FALSE(split_csv_row("\"open", ',', out));
  EXPECT_FALSE(split_csv_row("\"a\"b,c", ',', out));
}

TEST(CsvRow, Numbers) {
  double value = 0;
  for (const auto& [text, expected] : std::vector<std::pair<std::string, double>>{
           {"1", 1}, {" -2.5 ", -2.5}, {"+3", 3}, {"1e-3", 1e-3}, {".5", .5}}) {
    EXPECT_TRUE(parse_number(text, value)) << text;
    EXPECT_EQ(value, expected);
  }
  for (const char* bad : {"", " ", "x", "1x", "nan", "inf", "-inf", "1e999", "0x10", "+-1", "1 2"})
    EXPECT_FALSE(parse_number(bad, value)) << bad;
}

TEST(PrepareCsv, FeaturesAndLabel) {
  const Folder folder;
  spill(folder.file("a.csv"), "\xef\xbb\xbfx,y,\"the class\",z\r\n1,2,0,3\r\n\r\n4,5.5,2,-6e1\r\n");
  const Prepared made = prepare_csv({.input = folder.file("a.csv"), .label = "the class"},
                                    {.output = folder.file("a.h5")});
  EXPECT_EQ(made.samples, 2);
  EXPECT_THAT(contents<float>(made.path, "features"), ElementsAre(1, 2, 3, 4, 5.5, -60));
  EXPECT_THAT(contents<int64_t>(made.path, "label"), ElementsAre(0, 2));
  EXPECT_THAT(open_dataset({made.path}, std::nullopt)->properties(),
              ::testing::UnorderedElementsAre(std::pair<std::string, int64_t>("features", 3),
                                              std::pair<std::string, int64_t>("classes", 3)));
}

TEST(PrepareCsv, ChosenColumnsAsFieldsOfTheirOwn) {
  const Folder folder;
  spill(folder.file("a.csv"), "x;y;name\n1;2;joe\n3;4;ann");
  const Prepared made = prepare_csv(
      {.input = folder.file("a.csv"), .columns = {"y", "x"}, .field = "", .delimiter = ';'},
      {.output = folder.file("a.h5")});
  EXPECT_THAT(contents<float>(made.path, "x"), ElementsAre(1, 3));
  EXPECT_THAT(contents<float>(made.path, "y"), ElementsAre(2, 4));
}

TEST(PrepareCsv, ErrorsNameTheLine) {
  const Folder folder;
  const auto refusal = [&](const std::string& content, const CsvOptions& with = {}) {
    spill(folder.file("a.csv"), content);
    CsvOptions csv = with;
    csv.input = folder.file("a.csv");
    const Error error = error_of([&] { (void)prepare_csv(csv, {.output = folder.file("a.h5")}); });
    EXPECT_THAT(folder.names(), ElementsAre("a.csv"));
    return error;
  };
  const Error cell = refusal("x,y\n1,2\n\n3,four\n");
  EXPECT_EQ(cell.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(cell.message(), AllOf(HasSubstr("a.csv:4:"), HasSubstr("`y`"), HasSubstr("`four`")));
  EXPECT_THAT(refusal("x,y\n1,2\n1,2,3\n").message(),
              HasSubstr("a.csv:3: 3 cells under a header of 2"));
  EXPECT_THAT(refusal("x,y\n1,\"2\n").message(), HasSubstr("a.csv:2:"));
  EXPECT_THAT(refusal("x,x\n1,2\n").message(), HasSubstr("same name"));
  EXPECT_THAT(refusal("x,y\n").message(), HasSubstr("no line below"));
  EXPECT_EQ(refusal("").kind(), ErrorKind::data_damaged);
  EXPECT_THAT(refusal("x,y\n1,nan\n").message(), HasSubstr("finite"));
  EXPECT_THAT(refusal("x,y\n1,0.5\n", {.label = "y"}).message(), HasSubstr("whole number"));
  const Error column = refusal("x,y\n1,2\n", {.label = "z"});
  EXPECT_EQ(column.kind(), ErrorKind::configuration);
  EXPECT_THAT(column.hint(), HasSubstr("x, y"));
  EXPECT_EQ(refusal("y\n1\n", {.label = "y"}).kind(), ErrorKind::configuration);
}

std::string npy(const std::string& descr, const std::string& shape, const std::string& data,
                const std::string& order = "False", char version = 1) {
  std::string header =
      "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  header += std::string(63 - (header.size() + 10) % 64, ' ') + "\n";
  std::string out = "\x93NUMPY";
  out += version;
  out += '\0';
  out += static_cast<char>(header.size() % 256);
  out += static_cast<char>(header.size() / 256);
  if (version > 1) out += std::string(2, '\0');
  return out + header + data;
}

TEST(PrepareNpy, ArraysBecomeFields) {
  const Folder folder;
  spill(folder.file("x.npy"), npy("<f4", "(3, 2)", bytes(std::vector<float>{1, 2, 3, 4, 5, 6})));
  spill(folder.file("y.npy"), npy("<i8", "(3,)", bytes(std::vector<int64_t>{1, 0, 4}), "False", 2));
  const Prepared made =
      prepare_npy({{{"features", folder.file("x.npy")}, {"label", folder.file("y.npy")}}},
                  {.output = folder.file("a.h5")});
  EXPECT_EQ(made.samples, 3);
  EXPECT_THAT(contents<float>(made.path, "features"), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(contents<int64_t>(made.path, "label"), ElementsAre(1, 0, 4));
  EXPECT_THAT(open_dataset({made.path}, std::nullopt)->properties(),
              ::testing::Contains(std::pair<std::string, int64_t>("classes", 5)));
}

TEST(PrepareNpy, MalformedInputsAreNamedAndLeaveNothing) {
  const Folder folder;
  const std::string data = bytes(std::vector<float>{1, 2, 3, 4});
  for (const std::string& content :
       {npy("<f4", "(4,)", data).substr(0, 140), npy("<f4", "(4,)", data + "x"),
        npy(">f4", "(4,)", data), npy("<f4", "(2, 2)", data, "True"), npy("<f4", "()", data),
        npy("<f4", "(0,)", ""), npy("<f4", "(4", data), npy("<f4", "(-4,)", data),
        npy("<f4", "(9223372036854775807, 9223372036854775807)", data), npy("|O", "(4,)", data),
        npy("<f4", "(4,)", data, "False", 9), std::string("\x93NUMPY\x01"), std::string("nothing"),
        std::string()}) {
    spill(folder.file("x.npy"), content);
    const Error error = error_of([&] {
      (void)prepare_npy({{{"x", folder.file("x.npy")}}}, {.output = folder.file("a.h5")});
    });
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged) << error.what();
    EXPECT_THAT(error.message(), HasSubstr("x.npy"));
    EXPECT_THAT(folder.names(), ElementsAre("x.npy"));
  }
}

TEST(PrepareNpy, FieldsMustAgreeAndHaveNames) {
  const Folder folder;
  spill(folder.file("x.npy"), npy("|u1", "(4,)", "abcd"));
  spill(folder.file("y.npy"), npy("|u1", "(3,)", "abc"));
  const auto kind = [&](const NpyOptions& options) {
    return error_of([&] { (void)prepare_npy(options, {.output = folder.file("a.h5")}); }).kind();
  };
  EXPECT_EQ(kind({{{"x", folder.file("x.npy")}, {"y", folder.file("y.npy")}}}),
            ErrorKind::data_damaged);
  EXPECT_EQ(kind({{{"x", folder.file("x.npy")}, {"x", folder.file("x.npy")}}}), ErrorKind::usage);
  EXPECT_EQ(kind({{{"checksums", folder.file("x.npy")}}}), ErrorKind::usage);
  EXPECT_EQ(kind({{{"a/b", folder.file("x.npy")}}}), ErrorKind::usage);
  EXPECT_EQ(kind({}), ErrorKind::usage);
  EXPECT_EQ(kind({{{"x", folder.file("z.npy")}}}), ErrorKind::input_missing);
}

std::string llm_c(int32_t magic, int32_t version, int32_t count, const std::string& tokens) {
  std::vector<int32_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return bytes(header) + tokens;
}

TEST(PrepareBin, NanoGptAndLlmC) {
  const Folder folder;
  const std::vector<uint16_t> tokens{5, 50'256, 7};
  spill(folder.file("nano.bin"), bytes(tokens));
  spill(folder.file("llm.bin"), llm_c(20240520, 1, 3, bytes(tokens)));
  spill(folder.file("llama.bin"), llm_c(20240801, 7, 2, bytes(std::vector<uint32_t>{1, 128'000})));
  const Prepared nano =
      prepare_bin({.inputs = {folder.file("nano.bin")}}, {.output = folder.file("nano.h5")});
  EXPECT_EQ(nano.tokens, 3);
  EXPECT_EQ(contents<uint16_t>(nano.path, "tokens"), tokens);
  const auto vocabulary = [](const std::string& path) {
    return *DataFile::open(path)->at("tokens").description().integer("vocab_size");
  };
  EXPECT_EQ(vocabulary(nano.path), 50'257);
  const Prepared both = prepare_bin({.inputs = {folder.file("llm.bin"), folder.file("nano.bin")}},
                                    {.output = folder.file("both.h5")});
  EXPECT_THAT(contents<uint16_t>(both.path, "tokens"), ElementsAre(5, 50'256, 7, 5, 50'256, 7));
  EXPECT_EQ(vocabulary(both.path), 50'257);
  const Prepared llama =
      prepare_bin({.inputs = {folder.file("llama.bin")}}, {.output = folder.file("llama.h5")});
  EXPECT_THAT(contents<uint32_t>(llama.path, "tokens"), ElementsAre(1U, 128'000U));
  EXPECT_EQ(vocabulary(llama.path), 128'256);
  const Prepared wide = prepare_bin({.inputs = {folder.file("nano.bin")}, .vocab_size = 60'000},
                                    {.output = folder.file("wide.h5")});
  EXPECT_EQ(vocabulary(wide.path), 60'000);
}

TEST(PrepareBin, MalformedInputsAreNamedAndLeaveNothing) {
  const Folder folder;
  const std::string tokens = bytes(std::vector<uint16_t>{1, 2, 3});
  for (const std::string& content :
       {std::string("abc"), std::string(), llm_c(20240520, 2, 3, tokens),
        llm_c(20240520, 1, 4, tokens), llm_c(20240520, 1, 2, tokens),
        llm_c(20240520, 1, -3, tokens), llm_c(20240520, 1, 0, "")}) {
    spill(folder.file("a.bin"), content);
    const Error error = error_of([&] {
      (void)prepare_bin({.inputs = {folder.file("a.bin")}}, {.output = folder.file("a.h5")});
    });
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged) << error.what();
    EXPECT_THAT(folder.names(), ElementsAre("a.bin"));
  }
  spill(folder.file("a.bin"), tokens);
  const Error error = error_of([&] {
    (void)prepare_bin({.inputs = {folder.file("a.bin")}, .vocab_size = 3},
                      {.output = folder.file("a.h5")});
  });
  EXPECT_THAT(error.message(), HasSubstr("token 3 is outside of the vocabulary of 3"));
  EXPECT_THAT(folder.names(), ElementsAre("a.bin"));
}

TEST(Prepare, ReportsProgressToTheEnd) {
  const Folder folder;
  spill(folder.file("a.bin"), std::string(5'000'000, 'a'));
  std::vector<int64_t> seen;
  (void)prepare_bin({.inputs = {folder.file("a.bin")}},
                    {.output = folder.file("a.h5"), .progress = [&](int64_t done, int64_t total) {
                       EXPECT_EQ(total, 5'000'000);
                       seen.push_back(done);
                     }});
  EXPECT_GT(seen.size(), 1U);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(seen.back(), 5'000'000);
}

}  // namespace
}  // namespace trireme::data
