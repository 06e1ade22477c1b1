#include <trireme/data/open.h>
#include <trireme/data/prepare.h>

#include "data/csv_row.h"
#include "data/data_file.h"
#include "data/output_file.h"
#include "unit/data/files.h"

#include <csignal>
#include <cstring>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

namespace trireme::data {
namespace {

using ::testing::AllOf;
using testing::bytes;
using ::testing::ElementsAre;
using testing::error_of;
using testing::Folder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::slurp;
using testing::spill;

/// The contents of a dataset of a file.
template <class T>
std::vector<T> contents(const std::string& path, const std::string& name) {
  const auto file = DataFile::open(path);
  const Column& column = file->at(name);
  EXPECT_EQ(static_cast<size_t>(bytes_of(column.description().element)), sizeof(T));
  std::vector<std::byte> scratch;
  const auto rows = column.description().rows();
  std::vector<T> values(static_cast<size_t>(rows * column.description().row_elements()));
  std::memcpy(values.data(), column.rows(0, rows, scratch), values.size() * sizeof(T));
  return values;
}

std::string text_of(const std::string& path) {
  std::string text;
  for (const uint16_t token : contents<uint16_t>(path, "tokens")) text += static_cast<char>(token);
  return text;
}

TEST(OutputNames, PartsGoBeforeTheExtension) {
  EXPECT_EQ(train_path("data/kjv.h5"), "data/kjv.train.h5");
  EXPECT_EQ(eval_path("data/kjv.h5"), "data/kjv.eval.h5");
  EXPECT_EQ(eval_path("kjv"), "kjv.eval.h5");
  EXPECT_EQ(train_path("a.b/c.d.h5"), "a.b/c.d.train.h5");
}

TEST(PrepareText, BytesAreTokens) {
  const Folder folder;
  const std::string text = "Zero \xff and \x01 are bytes.\n";
  spill(folder.file("a.txt"), text);
  const auto made =
      prepare_text({.inputs = {folder.file("a.txt")}}, {.output = folder.file("out/a.h5")});
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0].tokens, static_cast<int64_t>(text.size()));
  EXPECT_EQ(made[0].bytes, static_cast<int64_t>(slurp(folder.file("out/a.h5")).size()));
  const auto read = contents<uint16_t>(folder.file("out/a.h5"), "tokens");
  for (size_t i = 0; i < text.size(); ++i) EXPECT_EQ(read[i], static_cast<uint8_t>(text[i]));
  const FileSummary summary = inspect_file(folder.file("out/a.h5"));
  EXPECT_THAT(
      summary.datasets[0].attributes,
      ::testing::UnorderedElementsAre(std::pair<std::string, std::string>("vocab_size", "256"),
                                      std::pair<std::string, std::string>("tokenizer", "bytes")));
  EXPECT_TRUE(summary.datasets[0].mapped);
}

TEST(PrepareText, TheSameInputGivesTheSameBytes) {
  const Folder folder;
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += static_cast<char>('a' + i * i % 26);
  spill(folder.file("a.txt"), text);
  for (const int64_t compress : {0, 6}) {
    const auto make = [&](const std::string& name) {
      (void)prepare_text({.inputs = {folder.file("a.txt")}, .eval_fraction = 0.1},
                         {.output = folder.file(name), .compress = compress});
      return slurp(train_path(folder.file(name))) + slurp(eval_path(folder.file(name)));
    };
    const std::string first = make("first" + std::to_string(compress) + ".h5");
    EXPECT_EQ(first, make("second" + std::to_string(compress) + ".h5"));
    (void)verify_file(train_path(folder.file("first" + std::to_string(compress) + ".h5")));
  }
}

TEST(PrepareText, FractionIsTheEndFromTheStartOfALine) {
  const Folder folder;
  std::string text;
  for (int i = 0; i < 100; ++i) text += "line " + std::to_string(1000 + i) + "\n";
  spill(folder.file("a.txt"), text);
  const auto made = prepare_text({.inputs = {folder.file("a.txt")}, .eval_fraction = 0.195},
                                 {.output = folder.file("a.h5")});
  ASSERT_EQ(made.size(), 2U);
  const std::string train = text_of(made[0].path);
  const std::string eval = text_of(made[1].path);
  EXPECT_EQ(train + eval, text);
  EXPECT_EQ(eval.size(), 19U * 10U);
  EXPECT_TRUE(eval.starts_with("line 1081"));
}

constexpr const char* king_james =
    "Ge1:1 In the beginning\nGe1:2 And the earth\n1Sm1:1 Now there was\n1Sm1:2 And he had\nJude1:1 "
    "Jude, the servant\n";
constexpr const char* by_book = "^([1-3]?[A-Za-z]+)[0-9]+:[0-9]+";

TEST(PrepareText, BooksOfTheKingJamesTextAreDocuments) {
  const Folder folder;
  spill(folder.file("kjv.txt"), king_james);
  const auto made = prepare_text(
      {.inputs = {folder.file("kjv.txt")}, .document_pattern = by_book, .eval_documents = {"1Sm"}},
      {.output = folder.file("kjv.h5")});
  ASSERT_EQ(made.size(), 2U);
  EXPECT_EQ(text_of(made[0].path),
            "Ge1:1 In the beginning\nGe1:2 And the earth\nJude1:1 Jude, the servant\n");
  EXPECT_EQ(text_of(made[1].path), "1Sm1:1 Now there was\n1Sm1:2 And he had\n");
  EXPECT_EQ(made[0].documents, 2);
  EXPECT_THAT(contents<int64_t>(made[0].path, "documents"), ElementsAre(0, 43));
  EXPECT_FALSE(DataFile::open(made[1].path)->has("documents"));
}

TEST(PrepareText, FractionTakesWholeDocumentsWhereTheyAreCut) {
  const Folder folder;
  spill(folder.file("kjv.txt"), king_james);
  const auto made = prepare_text(
      {.inputs = {folder.file("kjv.txt")}, .document_pattern = by_book, .eval_fraction = 0.01},
      {.output = folder.file("kjv.h5")});
  EXPECT_EQ(text_of(made[1].path), "Jude1:1 Jude, the servant\n");
}

TEST(PrepareText, SeparatorStaysWithTheDocumentBeforeIt) {
  const Folder folder;
  spill(folder.file("a.txt"), "one|two|three");
  const auto made = prepare_text({.inputs = {folder.file("a.txt")}, .document_separator = "|"},
                                 {.output = folder.file("a.h5")});
  EXPECT_EQ(text_of(made[0].path), "one|two|three");
  EXPECT_THAT(contents<int64_t>(made[0].path, "documents"), ElementsAre(0, 4, 8));
}

TEST(PrepareText, FilesAreDocuments) {
  const Folder folder;
  spill(folder.file("a.txt"), "first");
  spill(folder.file("b.txt"), "second");
  const auto made = prepare_text(
      {.inputs = {folder.file("a.txt"), folder.file("b.txt")}, .eval_documents = {"*b.txt"}},
      {.output = folder.file("a.h5")});
  EXPECT_EQ(text_of(made[0].path), "first");
  EXPECT_EQ(text_of(made[1].path), "second");
}

TEST(PrepareText, AnotherTokenizer) {
  const Folder folder;
  spill(folder.file("a.txt"), "a bb ccc");
  Tokenizer lengths{"lengths", 100'000,
                    [](std::string_view document, std::vector<uint32_t>& tokens) {
                      tokens.push_back(static_cast<uint32_t>(document.size()));
                      tokens.push_back(99'999);
                    }};
  const auto made = prepare_text({.inputs = {folder.file("a.txt")}, .tokenizer = lengths},
                                 {.output = folder.file("a.h5")});
  EXPECT_THAT(contents<uint32_t>(made[0].path, "tokens"), ElementsAre(8U, 99'999U));
}

TEST(PrepareText, BadRequestsLeaveNothing) {
  const Folder folder;
  spill(folder.file("a.txt"), king_james);
  spill(folder.file("empty.txt"), "");
  const auto kind = [&](TextOptions text) {
    if (text.inputs.empty()) text.inputs = {folder.file("a.txt")};
    return error_of([&] { (void)prepare_text(text, {.output = folder.file("a.h5")}); }).kind();
  };
  EXPECT_EQ(kind({.inputs = {folder.file("no.txt")}}), ErrorKind::input_missing);
  EXPECT_EQ(kind({.inputs = {folder.file("empty.txt")}}), ErrorKind::data_damaged);
  EXPECT_EQ(kind({.document_pattern = "("}), ErrorKind::configuration);
  EXPECT_EQ(kind({.document_pattern = "abc"}), ErrorKind::configuration);
  EXPECT_EQ(kind({.eval_documents = {"Rev"}}), ErrorKind::configuration);
  EXPECT_EQ(kind({.eval_documents = {"*"}}), ErrorKind::configuration);
  EXPECT_EQ(kind({.eval_fraction = 1.0}), ErrorKind::configuration);
  EXPECT_EQ(kind({.eval_fraction = -0.1}), ErrorKind::configuration);
  EXPECT_EQ(kind({.eval_documents = {"Ge"}, .eval_fraction = 0.1}), ErrorKind::configuration);
  EXPECT_THAT(folder.names(), ElementsAre("a.txt", "empty.txt"));
}

TEST(PrepareText, ATokenizerThatThrowsLeavesNothing) {
  const Folder folder;
  spill(folder.file("a.txt"), king_james);
  int calls = 0;
  const Tokenizer failing{"failing", 10, [&](std::string_view, std::vector<uint32_t>& tokens) {
                            tokens.push_back(1);
                            if (++calls > 2) throw Error(ErrorKind::unexpected, "third document");
                          }};
  EXPECT_THROW((void)prepare_text({.inputs = {folder.file("a.txt")},
                                   .document_pattern = by_book,
                                   .eval_documents = {"Jude"},
                                   .tokenizer = failing},
                                  {.output = folder.file("a.h5")}),
               Error);
  EXPECT_THAT(folder.names(), ElementsAre("a.txt"));
}

TEST(Output, IsNotOverwrittenWithoutForce) {
  const Folder folder;
  spill(folder.file("a.txt"), "new text");
  spill(folder.file("a.h5"), "old");
  const TextOptions text{.inputs = {folder.file("a.txt")}};
  const Error error = error_of([&] { (void)prepare_text(text, {.output = folder.file("a.h5")}); });
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("a.h5"), HasSubstr("--force")));
  EXPECT_EQ(slurp(folder.file("a.h5")), "old");
  (void)prepare_text(text, {.output = folder.file("a.h5"), .force = true});
  EXPECT_EQ(text_of(folder.file("a.h5")), "new text");
  EXPECT_THAT(folder.names(), ElementsAre("a.h5", "a.txt"));
}

TEST(Output, ThatAppearsMeanwhileIsNotOverwritten) {
  const Folder folder;
  OutputFile out(folder.file("a.h5"), false);
  write_tokens(out, {{1, 2, 3}, {}, 10, ""}, {});
  spill(folder.file("a.h5"), "someone else's");
  EXPECT_EQ(error_of([&] { (void)out.commit(); }).kind(), ErrorKind::storage);
  EXPECT_EQ(slurp(folder.file("a.h5")), "someone else's");
}

TEST(Output, WhereItCannotBeWritten) {
  const Folder folder;
  spill(folder.file("a.txt"), "text");
  spill(folder.file("file"), "");
  const TextOptions text{.inputs = {folder.file("a.txt")}};
  for (const std::string& path : {folder.file("file/a.h5"), folder.file("")})
    EXPECT_EQ(error_of([&] { (void)prepare_text(text, {.output = path, .force = true}); }).kind(),
              ErrorKind::storage);
  EXPECT_EQ(error_of([&] { (void)prepare_text(text, {.output = ""}); }).kind(), ErrorKind::usage);
  EXPECT_EQ(error_of([&] { (void)prepare_text(text, {.output = "x.h5", .compress = 10}); }).kind(),
            ErrorKind::usage);
}

// A limit of file size stands for a full disk: the write fails in the middle.
TEST(Output, AFailedWriteLeavesNothing) {
  const Folder folder;
  spill(folder.file("a.txt"), std::string(3'000'000, 'x'));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const Error error = error_of([&] {
    (void)prepare_text({.inputs = {folder.file("a.txt")}}, {.output = folder.file("a.h5")});
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_THAT(folder.names(), ElementsAre("a.txt"));
}

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
