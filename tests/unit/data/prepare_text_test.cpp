#include <trireme/core/random.h>
#include <trireme/data/open.h>
#include <trireme/data/prepare.h>

#include "data/data_file.h"
#include "data/output_file.h"
#include "unit/data/files.h"

#include <csignal>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace trireme::data {
namespace {

using ::testing::AllOf;
using testing::contents;
using ::testing::ElementsAre;
using testing::error_of;
using testing::Folder;
using ::testing::HasSubstr;
using testing::slurp;
using testing::spill;

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
  for (int i = 0; i < 300'000; ++i) text += static_cast<char>('a' + i % 1000 * i % 26);
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

/// What preparing gives while no file may grow beyond `bytes`, which stands for a full disk.
Error error_on_disk_of(rlim_t bytes, const TextOptions& text, const PrepareOptions& options) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{bytes, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  Error error = error_of([&] { (void)prepare_text(text, options); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  return error;
}

TEST(Output, AFailedWriteLeavesNothing) {
  const Folder folder;
  std::string letters(3'000'000, 'x');
  for (size_t i = 0; i < letters.size(); ++i)
    letters[i] = static_cast<char>('a' + core::RandomKey(1).below(26, i));
  spill(folder.file("a.txt"), letters);
  const TextOptions text{.inputs = {folder.file("a.txt")}};
  for (const int64_t compress : {0, 1})
    for (const rlim_t bytes : {0, 100, 5'000, 1 << 20, 1'500'000}) {
      const Error error =
          error_on_disk_of(bytes, text, {.output = folder.file("a.h5"), .compress = compress});
      EXPECT_EQ(error.kind(), ErrorKind::storage) << bytes;
      EXPECT_THAT(error.message(), AllOf(HasSubstr("a.h5"), HasSubstr("File too large")));
      EXPECT_THAT(folder.names(), ElementsAre("a.txt"));
    }
}

// The HDF5 library closes what it believes to be open when the process exits.
TEST(OutputDeathTest, TheProcessExitsOrderlyAfterAFailedWrite) {
  const Folder folder;
  spill(folder.file("a.txt"), std::string(3'000'000, 'x'));
  const auto work = [&] {
    const Error error = error_on_disk_of(1 << 20, {.inputs = {folder.file("a.txt")}},
                                         {.output = folder.file("a.h5")});
    std::exit(static_cast<int>(error.kind()));
  };
  EXPECT_EXIT(work(), ::testing::ExitedWithCode(30), "");
}

}  // namespace
}  // namespace trireme::data
