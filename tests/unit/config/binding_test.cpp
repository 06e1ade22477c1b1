#include <trireme/config/binder.h>

#include "unit/config/run_config.h"

#include <cmath>
#include <limits>

namespace trireme::config::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Binding, DefaultsStayWhereTheDocumentSaysNothing) {
  const auto [value, resolved] = read("");
  EXPECT_EQ(value.dir, "runs/default");
  EXPECT_EQ(value.seed, 42);
  EXPECT_EQ(value.epochs, std::nullopt);
  EXPECT_FALSE(value.spike.has_value());
  for (const Entry& entry : resolved.entries) EXPECT_EQ(entry.origin, "default") << entry.path;
}

TEST(Binding, AssignsEveryKindOfField) {
  const RunConfig value = read(R"(
dir: runs/x
seed: 7
deterministic: true
epochs: 3
train: [a.h5, "b c.h5"]
ladder: [4, 5, 6]
bucket_mib: 25
workers: 0
model: {name: cnn, config: {channels: 32}}
optim:
  lr: 1
  betas: [0, 0.5]
  groups:
    - {match: "*.bias", lr_scale: 0.1}
    - match: head.*
      frozen: true
spike: {window: 5}
)")
                              .value;
  EXPECT_EQ(value.dir, "runs/x");
  EXPECT_EQ(value.seed, 7);
  EXPECT_TRUE(value.deterministic);
  EXPECT_EQ(value.epochs, 3);
  EXPECT_THAT(value.train, ElementsAre("a.h5", "b c.h5"));
  EXPECT_THAT(value.ladder, ElementsAre(4, 5, 6));
  EXPECT_EQ(std::get<int64_t>(value.bucket_mib), 25);
  EXPECT_EQ(value.workers, 0);
  EXPECT_EQ(value.model.cnn.channels, 32);
  EXPECT_EQ(value.optim.lr, 1.0);  // an integer is a number
  EXPECT_THAT(value.optim.betas, ElementsAre(0.0, 0.5));
  ASSERT_EQ(value.optim.groups.size(), 2u);
  EXPECT_EQ(value.optim.groups[0].match, "*.bias");
  EXPECT_EQ(value.optim.groups[0].lr_scale, 0.1);
  EXPECT_EQ(value.optim.groups[1].lr_scale, 1.0);
  EXPECT_TRUE(value.optim.groups[1].frozen);
  ASSERT_TRUE(value.spike.has_value());
  EXPECT_EQ(value.spike->window, 5);
  EXPECT_EQ(value.spike->factor, 4.0);
}

TEST(Binding, NullUnsetsOptionalsAndLeavesSectionsAtTheirDefaults) {
  const RunConfig value = read("epochs: null\nspike: ~\noptim:\nmodel: {config: null}\n").value;
  EXPECT_EQ(value.epochs, std::nullopt);
  EXPECT_FALSE(value.spike.has_value());
  EXPECT_EQ(value.optim.lr, 3e-4);
  EXPECT_EQ(value.model.gpt.layers, 12);
}

TEST(Binding, OneTextStandsForAListOfOne) {
  EXPECT_THAT(read("train: data/*.h5").value.train, ElementsAre("data/*.h5"));
  EXPECT_EQ(to_json(read("train: data/*.h5").resolved.find("train")->value), R"(["data/*.h5"])");
  EXPECT_THAT(read("train: []").value.train, ElementsAre());
}

struct Wrong {
  const char* text;
  const char* message;
  const char* hint;
};
class BindingRefuses : public ::testing::TestWithParam<Wrong> {};
TEST_P(BindingRefuses, WithPlacePathAndHint) {
  const auto failure = failure_of(GetParam().text);
  EXPECT_EQ(failure.kind, ErrorKind::configuration);
  EXPECT_EQ(failure.message, GetParam().message);
  EXPECT_EQ(failure.hint, GetParam().hint);
}
INSTANTIATE_TEST_SUITE_P(
    Types, BindingRefuses,
    ::testing::Values(
        Wrong{"seed: many", "run.yaml:1:7: seed: expected integer, found the text 'many'",
              "trireme config explain seed prints what it takes"},
        Wrong{"seed: 3.0", "run.yaml:1:7: seed: expected integer, found the number 3.0",
              "write an integer without point and exponent"},
        Wrong{"seed: 1e3", "run.yaml:1:7: seed: expected integer, found the number 1e3",
              "write an integer without point and exponent"},
        Wrong{"seed: 9223372036854775808",
              "run.yaml:1:7: seed: expected integer, found the number 9223372036854775808",
              "write an integer without point and exponent"},
        Wrong{"seed: 1_000", "run.yaml:1:7: seed: expected integer, found the text '1_000'",
              "YAML 1.2 has no underscores in numbers"},
        Wrong{"seed: null", "run.yaml:1:7: seed: expected integer, found null",
              "trireme config explain seed prints what it takes"},
        Wrong{"seed: [1]", "run.yaml:1:7: seed: expected integer, found a list",
              "trireme config explain seed prints what it takes"},
        Wrong{"workers: 3000000000",
              "run.yaml:1:10: workers: expected integer, found the integer 3000000000",
              "allowed: -2147483648 to 2147483647"},
        Wrong{"deterministic: yes",
              "run.yaml:1:16: deterministic: expected boolean, found the text 'yes'",
              "YAML 1.2 writes true or false"},
        Wrong{"deterministic: 1",
              "run.yaml:1:16: deterministic: expected boolean, found the integer 1",
              "trireme config explain deterministic prints what it takes"},
        Wrong{"dir: 42", "run.yaml:1:6: dir: expected text, found the integer 42",
              "in quotes it is a text: \"42\""},
        Wrong{"dir: true", "run.yaml:1:6: dir: expected text, found the boolean true",
              "in quotes it is a text: \"true\""},
        Wrong{"dir: {a: 1}", "run.yaml:1:6: dir: expected text, found a mapping",
              "trireme config explain dir prints what it takes"},
        Wrong{"optim:\n  lr: '3e-4'",
              "run.yaml:2:7: optim.lr: expected number, found the text '3e-4'",
              "trireme config explain optim.lr prints what it takes"},
        Wrong{"optim: {lr: 1e999}",
              "run.yaml:1:13: optim.lr: expected number, found the number 1e999",
              "it does not fit into a double"},
        Wrong{"epochs: soon",
              "run.yaml:1:9: epochs: expected integer or null, found the text 'soon'",
              "trireme config explain epochs prints what it takes"},
        Wrong{"ladder: 3", "run.yaml:1:9: ladder: expected list of integers, found the integer 3",
              "write a list: [3]"},
        Wrong{"ladder: [1, two]",
              "run.yaml:1:13: ladder[1]: expected integer, found the text 'two'",
              "trireme config explain ladder[1] prints what it takes"},
        Wrong{"train: 5", "run.yaml:1:8: train: expected list of texts, found the integer 5",
              "write a list: [5]"},
        Wrong{"optim: {betas: [0.9]}",
              "run.yaml:1:16: optim.betas: expected list of 2 numbers, found a list of 1",
              "give 2 elements"},
        Wrong{"bucket_mib: 2.5",
              "run.yaml:1:13: bucket_mib: expected integer or text, found the number 2.5",
              "trireme config explain bucket_mib prints what it takes"},
        Wrong{"optim: fast", "run.yaml:1:8: optim: expected mapping, found the text 'fast'",
              "trireme config explain optim prints what it takes"},
        Wrong{"spike: 3", "run.yaml:1:8: spike: expected mapping or null, found the integer 3",
              "trireme config explain spike prints what it takes"},
        Wrong{"optim: {groups: {match: x}}",
              "run.yaml:1:17: optim.groups: expected list of mappings, found a mapping",
              "trireme config explain optim.groups prints what it takes"},
        Wrong{"optim: {groups: [{}, 3]}",
              "run.yaml:1:22: optim.groups[1]: expected mapping, found the integer 3",
              "trireme config explain optim.groups[1] prints what it takes"},
        Wrong{"model: {name: plugin, config: 3}",
              "run.yaml:1:31: model.config: expected mapping with any keys, found the integer 3",
              "trireme config explain model.config prints what it takes"}));

INSTANTIATE_TEST_SUITE_P(
    Constraints, BindingRefuses,
    ::testing::Values(
        Wrong{"seed: -1", "run.yaml:1:7: seed: -1 is out of range", "allowed: at least 0"},
        Wrong{"optim: {lr: 0}", "run.yaml:1:13: optim.lr: 0 is out of range",
              "allowed: above 0, at most 10"},
        Wrong{"optim: {lr: 10.5}", "run.yaml:1:13: optim.lr: 10.5 is out of range",
              "allowed: above 0, at most 10"},
        Wrong{"optim: {lr: .nan}", "run.yaml:1:13: optim.lr: .nan is out of range",
              "allowed: above 0, at most 10"},
        Wrong{"optim: {lr: .inf}", "run.yaml:1:13: optim.lr: .inf is out of range",
              "allowed: above 0, at most 10"},
        Wrong{"optim: {betas: [0.9, 1]}", "run.yaml:1:22: optim.betas[1]: 1 is out of range",
              "allowed: at least 0, below 1"},
        Wrong{"epochs: 0", "run.yaml:1:9: epochs: 0 is out of range", "allowed: at least 1"},
        Wrong{"workers: 65", "run.yaml:1:10: workers: 65 is out of range",
              "allowed: at least 0, at most 64"},
        Wrong{"bucket_mib: 0", "run.yaml:1:13: bucket_mib: 0 is out of range",
              "allowed: at least 1"},
        Wrong{"bucket_mib: atuo", "run.yaml:1:13: bucket_mib: 'atuo' is not allowed",
              "did you mean 'auto'? allowed: auto"},
        Wrong{"optim: {name: adam}", "run.yaml:1:15: optim.name: 'adam' is not allowed",
              "did you mean 'adamw'? allowed: adamw, sgd, lion"},
        Wrong{"optim: {name: rmsprop}", "run.yaml:1:15: optim.name: 'rmsprop' is not allowed",
              "allowed: adamw, sgd, lion"},
        Wrong{"spike: {factor: 1}", "run.yaml:1:17: spike.factor: 1 is out of range",
              "allowed: above 1"},
        Wrong{"optim:\n  groups:\n    - match: a\n    - lr_scale: -1\n",
              "run.yaml:4:17: optim.groups[1].lr_scale: -1 is out of range",
              "allowed: at least 0"}));

INSTANTIATE_TEST_SUITE_P(
    Keys, BindingRefuses,
    ::testing::Values(
        Wrong{"sede: 1", "run.yaml:1:1: sede: unknown key", "did you mean 'seed'?"},
        Wrong{"optim: {rl: 1}", "run.yaml:1:9: optim.rl: unknown key", "did you mean 'lr'?"},
        Wrong{"lr: 1", "run.yaml:1:1: lr: unknown key", "did you mean 'optim.lr'?"},
        Wrong{"optim: {something_else: 1}", "run.yaml:1:9: optim.something_else: unknown key",
              "keys of optim: name, lr, betas, groups"},
        Wrong{"zzzzzzzz: 1", "run.yaml:1:1: zzzzzzzz: unknown key",
              "keys of the top level: dir, seed, deterministic, epochs, train, ladder, bucket_mib, "
              "workers, model, "
              "optim, spike"},
        Wrong{"optim: {extends: a.yaml}", "run.yaml:1:9: optim.extends: unknown key",
              "extends stands at the top of a file"},
        Wrong{"<<: 1", "run.yaml:1:1: <<: unknown key", "YAML 1.2 has no merge keys; use extends"},
        Wrong{"optim: {groups: [{mach: x}]}", "run.yaml:1:19: optim.groups[0].mach: unknown key",
              "did you mean 'match'?"},
        Wrong{"spike: {windows: 3}", "run.yaml:1:9: spike.windows: unknown key",
              "did you mean 'window'?"},
        Wrong{"seed: 1\nseed: 2", "run.yaml:2:1: seed: duplicate key",
              "it is first set at run.yaml:1:1"},
        Wrong{"\"a\\nb\": 1", "run.yaml:1:1: a\\nb: unknown key",
              "keys of the top level: dir, seed, deterministic, epochs, train, ladder, bucket_mib, "
              "workers, model, "
              "optim, spike"}));

TEST(Binding, TellsAllProblemsInTheOrderOfTheFile) {
  const auto failure =
      failure_of("sede: 1\noptim:\n  lr: -1\n  name: x\ndir: 3\ndir: a\n", {"workers=-1", "dri=x"});
  EXPECT_EQ(failure.kind, ErrorKind::configuration);
  EXPECT_EQ(
      failure.message,
      "run.yaml:1:1: sede: unknown key (did you mean 'seed'?)\n"
      "run.yaml:3:7: optim.lr: -1 is out of range (allowed: above 0, at most 10)\n"
      "run.yaml:4:9: optim.name: 'x' is not allowed (allowed: adamw, sgd, lion)\n"
      "run.yaml:5:6: dir: expected text, found the integer 3 (in quotes it is a text: \"3\")\n"
      "run.yaml:6:1: dir: duplicate key (it is first set at run.yaml:5:1)\n"
      "command line: dri=x: dri: unknown key (did you mean 'dir'?)\n"
      "command line: workers=-1: workers: -1 is out of range (allowed: at least 0, at most 64)");
  EXPECT_EQ(failure.hint,
            "trireme config explain KEY prints the type, default and meaning of a key");
}

TEST(Binding, ManyProblemsAreCounted) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "unknown" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(failure_of(text).message, HasSubstr("\nand 10 more problems"));
}

TEST(Binding, ABindMayBranchOnWhatIsBound) {
  EXPECT_EQ(read("model: {name: cnn, config: {channels: 8}}").value.model.cnn.channels, 8);
  EXPECT_EQ(read("model: {config: {layers: 3}}").value.model.gpt.layers, 3);
  // The order in the file does not matter, the order in bind() does.
  EXPECT_EQ(read("model: {config: {channels: 8}, name: cnn}").value.model.cnn.channels, 8);
  EXPECT_EQ(failure_of("model: {name: cnn, config: {layers: 3}}").message,
            "run.yaml:1:29: model.config.layers: unknown key");
  // A refused choice is back at its default when bind() goes on.
  EXPECT_EQ(failure_of("model: {name: rnn, config: {layers: 3}}").message,
            "run.yaml:1:15: model.name: 'rnn' is not allowed");
}

TEST(Binding, FreeFormMappingsAreTakenAsTheyAre) {
  const auto [value, resolved] =
      read("model:\n  name: plugin\n  config: {any: [1, 2.5, {deep: yes}], \"odd key\": null}\n");
  EXPECT_EQ(value.model.free_form.text, R"({"any": [1, 2.5, {"deep": "yes"}], "odd key": null})");
  EXPECT_EQ(resolved.find("model.config")->origin, "run.yaml:3:11");
  EXPECT_EQ(read("model: {name: plugin, config: }").value.model.free_form.text, "{}");
  EXPECT_EQ(read("model: {name: plugin}").value.model.free_form.text, "{}");
}

struct Required {
  std::string name;
  int64_t steps = 0;
  template <class B>
  void bind(B& b) {
    b.key("name", name).one_of({"a", "b"});
    b.key("steps", steps).above(0);
  }
};
TEST(Binding, ADefaultThatBreaksItsConstraintMakesTheKeyRequired) {
  EXPECT_EQ(load_text<Required>("{name: a, steps: 1}").value.steps, 1);
  EXPECT_EQ(failure_of([] { return load_text<Required>("steps: 1"); }).message,
            "default: name: '' is not allowed, and it is the default: the key must be given");
  EXPECT_EQ(failure_of([] { return load_text<Required>("name: b"); }).message,
            "default: steps: 0 is out of range, and it is the default: the key must be given");
  // A wrong type is told once.
  EXPECT_EQ(failure_of([] { return load_text<Required>("{name: b, steps: x}", "f"); }).message,
            "f:1:18: steps: expected integer, found the text 'x'");
  EXPECT_NO_THROW((void)describe<Required>());
}

struct Kinds {
  uint64_t unsigned_one = 1;
  int8_t small = 0;
  int64_t choice = 2;
  std::vector<std::vector<double>> matrix;
  std::vector<bool> flags;
  std::vector<std::optional<int64_t>> holes;
  std::optional<std::vector<std::string>> maybe_list;
  std::variant<double, std::string> scale = "dynamic";
  std::vector<Group> given = {{.match = "a"}, {.match = "b"}};
  std::optional<Spike> present = Spike{.window = 9};
  template <class B>
  void bind(B& b) {
    b.key("unsigned_one", unsigned_one);
    b.key("small", small);
    b.key("choice", choice).one_of({1, 2, 4});
    b.key("matrix", matrix).at_least(0);
    b.key("flags", flags);
    b.key("holes", holes);
    b.key("maybe_list", maybe_list);
    b.key("scale", scale).one_of({"dynamic"}).above(0);
    b.key("given", given).identity();
    b.key("present", present).identity();
  }
};
Loaded<Kinds> kinds(std::string_view text) {
  return load_text<Kinds>(text, "f");
}

TEST(Binding, LessCommonTypes) {
  const Kinds value = kinds(
                          "{unsigned_one: 9223372036854775807, small: -128, choice: 4, matrix: "
                          "[[1, 2], []], flags: [true, false], "
                          "holes: [1, null], maybe_list: [x], scale: 1024}")
                          .value;
  EXPECT_EQ(value.unsigned_one, 9223372036854775807u);
  EXPECT_EQ(value.small, -128);
  EXPECT_EQ(value.choice, 4);
  EXPECT_THAT(value.matrix, ElementsAre(ElementsAre(1, 2), ElementsAre()));
  EXPECT_THAT(value.flags, ElementsAre(true, false));
  EXPECT_THAT(value.holes, ElementsAre(1, std::nullopt));
  EXPECT_THAT(*value.maybe_list, ElementsAre("x"));
  EXPECT_EQ(std::get<double>(value.scale), 1024.0);
  EXPECT_EQ(std::get<std::string>(kinds("scale: dynamic").value.scale), "dynamic");
  const auto message = [](std::string_view text) {
    return failure_of([&] { return kinds(text); }).message;
  };
  EXPECT_EQ(message("unsigned_one: -1"),
            "f:1:15: unsigned_one: expected integer, found the integer -1");
  EXPECT_EQ(message("small: 128"), "f:1:8: small: expected integer, found the integer 128");
  EXPECT_EQ(message("choice: 3"), "f:1:9: choice: '3' is not allowed");
  EXPECT_EQ(message("matrix: [[1], [-1]]"), "f:1:16: matrix[1][0]: -1 is out of range");
  EXPECT_EQ(message("scale: -1"), "f:1:8: scale: -1 is out of range");
  EXPECT_EQ(message("scale: static"), "f:1:8: scale: 'static' is not allowed");
}

TEST(Binding, StructsWithDefaults) {
  auto loaded = kinds("");
  ASSERT_EQ(loaded.value.given.size(), 2u);
  EXPECT_EQ(loaded.resolved.find("given[1].match")->value.text, "b");
  EXPECT_EQ(loaded.resolved.find("present.window")->value.integer, 9);
  EXPECT_TRUE(loaded.resolved.find("given[1].frozen")->identity);  // of the whole list
  EXPECT_TRUE(loaded.resolved.find("present.window")->identity);
  // A given list replaces the default, a given struct starts from its own defaults.
  loaded = kinds("{given: [{frozen: true}], present: {factor: 2}}");
  ASSERT_EQ(loaded.value.given.size(), 1u);
  EXPECT_EQ(loaded.value.given[0].match, "");
  EXPECT_EQ(loaded.value.present->window, 100);
  EXPECT_FALSE(kinds("present: null").value.present.has_value());
  EXPECT_TRUE(kinds("given: []").value.given.empty());
}

struct CrossChecked {
  int64_t heads = 4;
  int64_t width = 64;
  template <class B>
  void bind(B& b) {
    b.key("heads", heads).at_least(1);
    b.key("width", width);
    if (width % heads != 0) b.refuse("width", "is no multiple of heads", "take 64 or 128");
  }
};
TEST(Binding, ABindMayRefuseWhatConstraintsCannotSay) {
  auto failure = failure_of([] { return load_text<CrossChecked>("width: 65", "f"); });
  EXPECT_EQ(failure.message, "f:1:8: width: is no multiple of heads");
  EXPECT_EQ(failure.hint, "take 64 or 128");
  failure = failure_of([] { return load_text<CrossChecked>("heads: 3", "f"); });
  EXPECT_EQ(failure.message, "default: width: is no multiple of heads");
}

struct Throwing {
  int64_t steps = 1;
  ErrorKind kind = ErrorKind::configuration;
  template <class B>
  void bind(B& b) {
    b.key("steps", steps).above(0);
    throw Error(kind, "no model is called x", "models: a, b");
  }
};
TEST(Binding, AThrowingBindDoesNotHideEarlierProblems) {
  EXPECT_EQ(failure_of([] { return load_text<Throwing>("", "f"); }).message,
            "no model is called x");
  EXPECT_EQ(failure_of([] { return load_text<Throwing>("steps: 0", "f"); }).message,
            "f:1:8: steps: 0 is out of range (allowed: above 0)\ndefault: no model is called x "
            "(models: a, b)");
}

struct Twice {
  int64_t a = 0;
  template <class B>
  void bind(B& b) {
    b.key("a", a);
    b.key("a", a);
  }
};
struct BadName {
  int64_t a = 0;
  template <class B>
  void bind(B& b) {
    b.key("a.b", a);
  }
};
TEST(Binding, WrongDeclarationsAreBrokenInvariants) {
  EXPECT_EQ(failure_of([] { return load_text<Twice>(""); }).kind, ErrorKind::unexpected);
  EXPECT_THAT(failure_of([] { return load_text<Twice>(""); }).message,
              HasSubstr("bind() declares a once"));
  EXPECT_EQ(failure_of([] { return load_text<BadName>(""); }).kind, ErrorKind::unexpected);
}

TEST(Binding, EntriesAreInTheOrderOfBindWithOriginAndIdentity) {
  const Resolved resolved =
      read("optim:\n  groups:\n    - match: x\nseed: 3\n", {"workers=5"}).resolved;
  std::vector<std::string> lines;
  for (const Entry& entry : resolved.entries) {
    lines.push_back(entry.path + "|" + to_json(entry.value) + "|" + entry.origin +
                    (entry.identity ? "|identity" : ""));
  }
  EXPECT_THAT(
      lines,
      ElementsAre(R"(dir|"runs/default"|default)", "seed|3|run.yaml:4:7|identity",
                  "deterministic|false|default", "epochs|null|default",
                  R"(train|["data/a.h5"]|default|identity)", "ladder|[1, 2]|default",
                  R"(bucket_mib|"auto"|default)", "workers|5|command line: workers=5",
                  R"(model.name|"gpt"|default|identity)", "model.config.layers|12|default|identity",
                  R"(optim.name|"adamw"|default|identity)", "optim.lr|0.0003|default|identity",
                  "optim.betas|[0.9, 0.95]|default|identity",
                  R"(optim.groups[0].match|"x"|run.yaml:3:14|identity)",
                  "optim.groups[0].lr_scale|1.0|default|identity",
                  "optim.groups[0].frozen|false|default", "spike|null|default"));
  EXPECT_EQ(resolved.find("nothing"), nullptr);
}

}  // namespace
}  // namespace trireme::config::testing
