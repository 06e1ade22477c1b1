#include <trireme/config/document.h>

#include "config/yaml.h"
#include "unit/config/run_config.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

namespace trireme::config {
namespace {

using ::testing::ElementsAre;
using testing::failure_of;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Node& at(const Document& document, std::initializer_list<std::string_view> path) {
  const Node* node = &document.root();
  for (const std::string_view name : path) node = &node->find(name)->value;
  return *node;
}

TEST(Document, KnowsWhereEachKeyAndValueStands) {
  const Document document = Document::parse(
      "# a comment\n"
      "run: {dir: \"a b\", seed: 42}\n"
      "list:\n"
      "  - 1\n"
      "  - 'two'\n"
      "nested:\n"
      "  deep:\n"
      "    key:   value\n"
      "empty:\n"
      "\"quoted\": x\n",
      "run.yaml");
  EXPECT_EQ(to_string(at(document, {"run"}).place), "run.yaml:2:6");
  EXPECT_EQ(to_string(at(document, {"run"}).find("seed")->place), "run.yaml:2:19");
  EXPECT_EQ(to_string(at(document, {"run", "dir"}).place), "run.yaml:2:12");
  EXPECT_EQ(to_string(at(document, {"run", "seed"}).place), "run.yaml:2:25");
  EXPECT_EQ(to_string(at(document, {"list"}).items[0].place), "run.yaml:4:5");
  EXPECT_EQ(to_string(at(document, {"list"}).items[1].place), "run.yaml:5:5");
  EXPECT_EQ(to_string(document.root().find("nested")->place), "run.yaml:6:1");
  EXPECT_EQ(to_string(at(document, {"nested", "deep", "key"}).place), "run.yaml:8:12");
  EXPECT_EQ(to_string(at(document, {"empty"}).place), "run.yaml:9:1");
  EXPECT_EQ(to_string(document.root().find("quoted")->place), "run.yaml:10:1");
  EXPECT_EQ(to_string(Place{}), "default");
}

TEST(Document, EmptyFilesAreEmptyMappings) {
  for (const char* text :
       {"", "# nothing\n", "---\n", "---\n...\n", "null", "{}", "\n\n", "\xef\xbb\xbf"}) {
    const Document document = Document::parse(text, "run.yaml");
    EXPECT_EQ(document.root().kind, Node::Kind::mapping) << text;
    EXPECT_TRUE(document.root().members.empty()) << text;
  }
}

TEST(Document, TheVersionDirectiveDoesNotChangeTyping) {
  EXPECT_EQ(at(Document::parse("%YAML 1.1\n---\na: no\n", "f"), {"a"}).text, "no");
  EXPECT_EQ(at(Document::parse("%YAML 1.1\n---\na: no\n", "f"), {"a"}).kind, Node::Kind::text);
}

TEST(Document, JsonIsYaml) {
  const Document document =
      Document::parse(R"({"a": {"b": [1, 2.5, null, "x"]}, "c": true})", "run.json");
  EXPECT_EQ(to_json(document.root()), R"({"a": {"b": [1, 2.5, null, "x"]}, "c": true})");
}

struct Refused {
  const char* text;
  const char* message;
};
class DocumentRefuses : public ::testing::TestWithParam<Refused> {};
TEST_P(DocumentRefuses, WithThePlace) {
  const auto failure = failure_of([] { return Document::parse(GetParam().text, "f.yaml"); });
  EXPECT_EQ(failure.kind, ErrorKind::configuration);
  EXPECT_THAT(failure.message, StartsWith(GetParam().message));
}
INSTANTIATE_TEST_SUITE_P(
    Syntax, DocumentRefuses,
    ::testing::Values(
        Refused{"a: [1, 2",
                "f.yaml:2:1: YAML syntax error: flow sequence without a closing bracket"},
        Refused{"a: b: c",
                "f.yaml:1:5: YAML syntax error: invalid nested block mapping on the same line"},
        Refused{"a: 1\n\tb: 2", "f.yaml:1:4: YAML syntax error: invalid multiline plain key"},
        Refused{"a: {b: 1,, c: 2}",
                "f.yaml:1:10: YAML syntax error: did not find expected node content"},
        Refused{"x: 1\na: @x", "f.yaml:2:4: YAML syntax error: plain scalar cannot start with '@'"},
        Refused{"a: \"abc", "f.yaml:1:"},
        Refused{"- 1\n- 2\n", "f.yaml:1:1: a configuration is a mapping"},
        Refused{"just text", "f.yaml:1:1: a configuration is a mapping"},
        Refused{"a: 1\n---\nb: 2\n", "f.yaml:1:4: a second document starts after this place"},
        Refused{"a: 1\nb: *x\n", "f.yaml:2:5: there is no anchor &x before this alias"},
        Refused{"a: &x [*x]\n", "f.yaml:1:9: there is no anchor &x before this alias"},
        Refused{"a: 1\n? [1, 2]\n: x\n",
                "f.yaml:1:4: a key after this place is empty, an alias or no scalar"},
        Refused{"a: 1\n: x\n",
                "f.yaml:1:4: a key after this place is empty, an alias or no scalar"},
        Refused{"&k a: 1\n", "f.yaml:1:4: the key a has a tag or an anchor"},
        Refused{"a: 1\nb: \"\xff\"\n", "f.yaml:2:5: byte 0xff is not allowed here"},
        Refused{"a: \x01\n", "f.yaml:1:4: byte 0x01 is not allowed here"},
        Refused{"a: \xc0\xaf\n", "f.yaml:1:4: byte 0xc0"},
        Refused{"a: \xed\xa0\x80\n", "f.yaml:1:4: byte 0xed"},
        Refused{"a: \xf4\x90\x80\x80\n", "f.yaml:1:4: byte 0xf4"},
        Refused{"a: \xe2\x82", "f.yaml:1:4: byte 0xe2"},
        Refused{"extends: [a.yaml]\n", "f.yaml:1:10: extends: expected the name of a file"},
        Refused{"extends:\n", "f.yaml:1:1: extends: expected the name of a file"}));

TEST(Document, PrintsNothingItself) {
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  (void)failure_of([] { return Document::parse("a: [1, 2", "f.yaml"); });
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
}

TEST(Document, CollectsDuplicateKeysAndTagsAndReadsOn) {
  const Document document =
      Document::parse("a: 1\nb:\n  c: 1\n  c: 2\na: 3\nd: !!str 4\n\"a\": 5\n", "f.yaml");
  const auto& problems = document.problems();
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_EQ(to_string(problems[0].place), "f.yaml:4:3");
  EXPECT_EQ(problems[0].path, "b.c");
  EXPECT_EQ(problems[0].message, "duplicate key");
  EXPECT_EQ(problems[0].hint, "it is first set at f.yaml:3:3");
  EXPECT_EQ(to_string(problems[1].place), "f.yaml:5:1");
  EXPECT_EQ(problems[2].message, "the tag tag:yaml.org,2002:str is not supported");
  EXPECT_EQ(to_string(problems[3].place), "f.yaml:7:1");
  EXPECT_EQ(problems[3].path, "a");
  EXPECT_EQ(at(document, {"a"}).integer, 1);
}

TEST(Document, AliasesAreCopies) {
  const Document document = Document::parse("a: &x {k: 1}\nb: *x\nc: [*x, *x]\n", "f.yaml");
  EXPECT_EQ(to_json(document.root()),
            R"({"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}, {"k": 1}]})");
  EXPECT_EQ(to_string(at(document, {"b"}).place), "f.yaml:2:5");
  EXPECT_EQ(to_string(at(document, {"b", "k"}).place), "f.yaml:1:11");
}

TEST(Document, AliasBombsAreRefused) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    text += fmt::format("a{0}: &a{0} [", i);
    for (int j = 0; j < 9; ++j) text += fmt::format("{}*a{}", j ? ", " : "", i - 1);
    text += "]\n";
  }
  const auto failure = failure_of([&] { return Document::parse(text, "f.yaml"); });
  EXPECT_EQ(failure.kind, ErrorKind::configuration);
  EXPECT_THAT(failure.message, StartsWith("f.yaml:5:"));
  EXPECT_THAT(failure.message, HasSubstr("more than 20000 values"));
}

TEST(Document, DeepNestingIsRefusedHoweverItIsWritten) {
  const auto nested = [](int depth, const char* open, const char* close) {
    std::string text = "a: ";
    for (int i = 0; i < depth; ++i) text += open;
    for (int i = 0; i < depth; ++i) text += close;
    return text;
  };
  EXPECT_NO_THROW((void)Document::parse(nested(deepest_nesting - 1, "[", "]"), "f"));
  for (const int depth : {deepest_nesting, 70, 50000}) {
    for (const auto& text : {nested(depth, "[", "]"), nested(depth, "{a: ", "}")}) {
      EXPECT_THAT(failure_of([&] { return Document::parse(text, "f.yaml"); }).message,
                  HasSubstr("nested more than 32 levels deep"));
    }
  }
  std::string block;
  for (std::size_t i = 0; i < 1000; ++i) block += std::string(i, ' ') + "a:\n";
  EXPECT_THAT(failure_of([&] { return Document::parse(block, "f.yaml"); }).message,
              HasSubstr("nested more than 32 levels deep"));
  // Thirty levels in an alias, and thirty around it.
  const std::string aliased = "x: &x " + nested(29, "[", "]").substr(3) +
                              "\na: " + std::string(29, '[') + "*x" + std::string(29, ']') + "\n";
  EXPECT_THAT(failure_of([&] { return Document::parse(aliased, "f.yaml"); }).message,
              HasSubstr("nested more than 32 levels deep"));
}

TEST(Document, LargeFilesAreRefused) {
  std::string wide;
  for (int i = 0; i < 11000; ++i) wide += fmt::format("k{}: 1\n", i);
  EXPECT_NO_THROW((void)Document::parse(wide, "f"));
  for (int i = 11000; i < 20001; ++i) wide += fmt::format("k{}: 1\n", i);
  EXPECT_THAT(failure_of([&] { return Document::parse(wide, "f"); }).message,
              HasSubstr("more than 20000 values"));
  const std::string huge = "# " + std::string(most_bytes, 'x');
  EXPECT_EQ(failure_of([&] { return Document::parse(huge, "f"); }).message,
            "f: larger than 1048576 bytes");
}

class Files : public ::testing::Test {
 protected:
  Files() { std::filesystem::create_directories(dir_ / "base"); }
  ~Files() override { std::filesystem::remove_all(dir_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
    return path(name);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (dir_ / name).string(); }

 private:
  std::filesystem::path dir_ =
      std::filesystem::path(::testing::TempDir()) /
      fmt::format("config_{}_{}", ::getpid(),
                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(Files, ExtendsMergesMappingsAndReplacesTheRest) {
  write("base/root.yaml",
        "a: {x: 1, y: {z: 2}}\nlist: [1, 2, 3]\nscalar: 1\nonly_base: b\nturned: {k: 1}\n");
  write("middle.yaml", "extends: base/root.yaml\na: {y: {w: 3}}\nscalar: 2\n");
  const std::string top =
      write("top.yaml", "extends: middle.yaml\na: {x: 9}\nlist: [4]\nturned: 5\n");
  const Document document = Document::load(top);
  EXPECT_EQ(
      to_json(document.root()),
      R"({"a": {"x": 9, "y": {"z": 2, "w": 3}}, "list": [4], "scalar": 2, "only_base": "b", "turned": 5})");
  EXPECT_EQ(to_string(at(document, {"a", "x"}).place), top + ":2:8");
  EXPECT_EQ(to_string(at(document, {"a", "y", "w"}).place), path("middle.yaml") + ":2:12");
  EXPECT_EQ(to_string(at(document, {"a", "y", "z"}).place), path("base/root.yaml") + ":1:18");
  EXPECT_THAT(document.files(), ElementsAre(path("base/root.yaml"), path("middle.yaml"), top));
}

TEST_F(Files, ExtendsIsRelativeToTheFileThatSaysIt) {
  write("base/one.yaml", "extends: two.yaml\na: 1\n");
  write("base/two.yaml", "b: 2\n");
  const std::string top = write("top.yaml", "extends: base/one.yaml\n");
  EXPECT_EQ(to_json(Document::load(top).root()), R"({"b": 2, "a": 1})");
  write("absolute.yaml", "extends: " + path("base/two.yaml") + "\n");
  EXPECT_EQ(to_json(Document::load(path("absolute.yaml")).root()), R"({"b": 2})");
  // A text of a name in that folder resolves like a file there.
  EXPECT_EQ(to_json(Document::parse("extends: two.yaml", path("base/virtual.yaml")).root()),
            R"({"b": 2})");
}

TEST_F(Files, CyclesAreRefused) {
  const std::string self = write("self.yaml", "a: 1\nextends: ./base/../self.yaml\n");
  auto failure = failure_of([&] { return Document::load(self); });
  EXPECT_EQ(failure.kind, ErrorKind::configuration);
  EXPECT_EQ(failure.message,
            self + ":2:10: extends: the files extend each other: " + self + " -> " + self);

  write("a.yaml", "extends: b.yaml\n");
  write("b.yaml", "extends: base/c.yaml\n");
  write("base/c.yaml", "extends: ../a.yaml\n");
  failure = failure_of([&] { return Document::load(path("a.yaml")); });
  EXPECT_EQ(failure.message,
            path("base/c.yaml") + ":1:10: extends: the files extend each other: " + path("a.yaml") +
                " -> " + path("b.yaml") + " -> " + path("base/c.yaml") + " -> " + path("a.yaml"));
}

TEST_F(Files, LongChainsAreRefused) {
  for (int i = 0; i < 20; ++i)
    write(fmt::format("{}.yaml", i), fmt::format("extends: {}.yaml\n", i + 1));
  write("20.yaml", "a: 1\n");
  EXPECT_NO_THROW((void)Document::load(path("5.yaml")));
  EXPECT_THAT(failure_of([&] { return Document::load(path("4.yaml")); }).message,
              HasSubstr("more than 16 files in a chain"));
}

TEST_F(Files, MissingAndUnreadableFiles) {
  auto failure = failure_of([&] { return Document::load(path("none.yaml")); });
  EXPECT_EQ(failure.kind, ErrorKind::input_missing);
  EXPECT_EQ(failure.message, path("none.yaml") + ": No such file or directory");
  EXPECT_EQ(failure.hint, "check the path of the configuration file");

  const std::string top = write("top.yaml", "a: 1\nextends: none.yaml\n");
  failure = failure_of([&] { return Document::load(top); });
  EXPECT_EQ(failure.kind, ErrorKind::input_missing);
  EXPECT_EQ(failure.message,
            top + ":2:10: extends: " + path("none.yaml") + ": No such file or directory");
  EXPECT_EQ(failure.hint, "extends is relative to the file that says it");

  failure = failure_of([&] { return Document::load(path("base")); });
  EXPECT_EQ(failure.kind, ErrorKind::input_missing);
  EXPECT_EQ(failure.message, path("base") + ": is a directory");
}

TEST_F(Files, ProblemsOfBaseFilesNameTheBase) {
  const std::string base = write("base.yaml", "optim: {lr: fast}\nseed: 1\nseed: 2\n");
  const std::string top = write("top.yaml", "extends: base.yaml\nsede: 3\n");
  const auto failure = failure_of([&] { return load<testing::RunConfig>(top); });
  EXPECT_EQ(failure.message, base +
                                 ":1:13: optim.lr: expected number, found the text 'fast' "
                                 "(trireme config explain optim.lr prints what it takes)\n" +
                                 base + ":3:1: seed: duplicate key (it is first set at " + base +
                                 ":2:1)\n" + top +
                                 ":2:1: sede: unknown key (did you mean 'seed'?)");
}

}  // namespace
}  // namespace trireme::config
