#include "config/nearest.h"
#include "unit/config/run_config.h"

#include <functional>
#include <set>

#include <nlohmann/json.hpp>

namespace trireme::config::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

constexpr const char* full_text = R"(
dir: "runs/with: odd # text"
seed: 7
epochs: 3
train: ["*.h5", "no", "42", "", "ä\n\"x\"", plain/path.h5, "null", "- a"]
bucket_mib: 25
model: {name: cnn, config: {channels: 32}}
optim:
  lr: 1
  betas: [0, 0.5]
  groups:
    - {match: "*.bias", lr_scale: 1e-10}
    - {match: 'head', frozen: true}
spike: {window: 5}
)";

TEST(ToYaml, IsReadableAndHasOrigins) {
  EXPECT_EQ(to_yaml(read("optim: {groups: [{match: a*}], lr: 1}\n", {"seed=1"}).resolved, true),
            R"(dir: runs/default  # default
seed: 1  # command line: seed=1
deterministic: false  # default
epochs: null  # default
train: [data/a.h5]  # default
ladder: [1, 2]  # default
bucket_mib: auto  # default
workers: 2  # default
model:
  name: gpt  # default
  config:
    layers: 12  # default
optim:
  name: adamw  # default
  lr: 1.0  # run.yaml:1:36
  betas: [0.9, 0.95]  # default
  groups:
    - match: "a*"  # run.yaml:1:26
      lr_scale: 1.0  # default
      frozen: false  # default
spike: null  # default
)");
}

TEST(ToYaml, ReadsBackToTheSameValues) {
  for (const char* text :
       {"", full_text, "spike: {factor: .inf}", "optim: {groups: []}", "train: []",
        "model: {name: plugin, config: {a: {b: [1, {c: d}], e: []}, \"odd: key\": \"- x\", \"\": "
        "1.0, \"42\": {}}}",
        "model: {name: plugin, config: {}}", "dir: \"line\\nbreak \\u0001 \\x7f \\u2028 \\ufeff\"",
        "dir: ' '", "dir: '...'", "dir: '---'", "dir: '1e5'", "dir: .nan.x", "dir: '~'"}) {
    const auto first = read(text);
    for (const bool origins : {false, true}) {
      const std::string yaml = to_yaml(first.resolved, origins);
      const auto second = load_text<RunConfig>(yaml, "again.yaml");
      EXPECT_EQ(canonical_text(second.resolved), canonical_text(first.resolved)) << yaml;
      EXPECT_EQ(to_yaml(second.resolved), to_yaml(first.resolved));
    }
  }
  const std::string long_key(5000, 'k');
  const auto first = read("model: {name: plugin, config: {? " + long_key + " : {x: 1}}}");
  EXPECT_EQ(canonical_text(read(to_yaml(first.resolved)).resolved), canonical_text(first.resolved));
}

TEST(ToYaml, OriginsCannotBreakTheFile) {
  const auto loaded = read("", {"dir=\"a\nb\""});
  EXPECT_EQ(read(to_yaml(loaded.resolved, true)).value.dir, loaded.value.dir);
}

TEST(ToYaml, NothingIsAnEmptyMapping) {
  struct Nothing {
    void bind(Binder&) {}
  };
  EXPECT_EQ(to_yaml(load_text<Nothing>("").resolved), "{}\n");
}

TEST(ToJson, IsNestedJson) {
  const Json json = Json::parse(to_json(read(full_text).resolved));
  EXPECT_EQ(json["optim"]["groups"][1]["match"], "head");
  EXPECT_EQ(json["spike"]["window"], 5);
  EXPECT_EQ(json["train"][4], "ä\n\"x\"");
  EXPECT_TRUE(Json::parse(to_json(read("").resolved))["spike"].is_null());
}

TEST(Explain, Keys) {
  const Resolved resolved = read("optim: {lr: 1}").resolved;
  EXPECT_EQ(explain(resolved, "optim.lr"), R"(optim.lr
  meaning:  peak learning rate
  type:     number
  default:  0.0003
  unit:     per step
  allowed:  above 0, at most 10
  resume:   identity: a resume is refused if this differs
  value:    1.0  (run.yaml:1:13)
)");
  EXPECT_EQ(explain(resolved, "epochs"), R"(epochs
  meaning:  passes over the data
  type:     integer or null
  default:  null
  allowed:  at least 1
  resume:   free: may differ at a resume
)");
  EXPECT_THAT(explain(resolved, "optim.name"), HasSubstr("allowed:  one of adamw, sgd, lion"));
  EXPECT_THAT(explain(resolved, "bucket_mib"), HasSubstr("type:     integer or text"));
  EXPECT_THAT(explain(resolved, "bucket_mib"), HasSubstr("allowed:  at least 1, one of auto"));
}

TEST(Explain, Sections) {
  const Resolved resolved = describe<RunConfig>();
  EXPECT_EQ(explain(resolved, "optim"), R"(optim
  meaning:  how it is trained
keys:
  name                 text, default 'adamw': the update rule
  lr                   number, default 0.0003: peak learning rate
  betas                list of 2 numbers, default [0.9, 0.95]
  groups               list of mappings, default []: exceptions for some parameters
)");
  EXPECT_THAT(explain(resolved, "optim.groups"),
              HasSubstr("keys:\n  match                text, default ''"));
  EXPECT_THAT(explain(resolved, "optim.groups[0].match"), HasSubstr("a glob of parameter names"));
  EXPECT_THAT(explain(resolved, "optim.groups[].match"), HasSubstr("a glob of parameter names"));
  EXPECT_THAT(explain(resolved, "optim.groups[3]"), HasSubstr("keys:\n  match"));
  EXPECT_THAT(explain(resolved, "ladder[1]"), HasSubstr("type:     list of integers"));
  EXPECT_THAT(explain(resolved, "ladder[1][2]"), HasSubstr("type:     list of integers"));
  EXPECT_THAT(explain(resolved, "spike"), HasSubstr("keys:\n  window"));
  EXPECT_THAT(explain(resolved, ""),
              HasSubstr("\n  optim                section: how it is trained\n"));
  EXPECT_THAT(explain(resolved, ""), ::testing::Not(HasSubstr("adamw")));
}

TEST(Explain, UnknownKeys) {
  const Resolved resolved = describe<RunConfig>();
  auto failure = failure_of([&] { return explain(resolved, "optim.rl"); });
  EXPECT_EQ(failure.kind, ErrorKind::configuration);
  EXPECT_EQ(failure.message, "there is no key 'optim.rl'");
  EXPECT_EQ(failure.hint, "did you mean 'optim.lr'?");
  EXPECT_EQ(failure_of([&] { return explain(resolved, "betas"); }).hint,
            "did you mean 'optim.betas'?");
  EXPECT_EQ(failure_of([&] { return explain(resolved, "qqqqqqqqqqqqq"); }).hint,
            "trireme config explain lists the sections");
}

TEST(Schema, HasEveryKeyWithItsConstraints) {
  const Json schema = Json::parse(json_schema(describe<RunConfig>()));
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["additionalProperties"], false);
  const Json& optim = schema["properties"]["optim"];
  EXPECT_EQ(optim["additionalProperties"], false);
  EXPECT_EQ(optim["description"], "how it is trained");
  EXPECT_EQ(optim["properties"]["lr"],
            Json::parse(R"({"type": "number", "exclusiveMinimum": 0, "maximum": 10,
      "description": "peak learning rate [per step]", "default": 0.0003})"));
  EXPECT_EQ(optim["properties"]["name"]["enum"], Json::parse(R"(["adamw", "sgd", "lion"])"));
  EXPECT_EQ(optim["properties"]["betas"],
            Json::parse(R"({"type": "array", "minItems": 2, "maxItems": 2,
      "items": {"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "default": [0.9, 0.95]})"));
  const Json& element = optim["properties"]["groups"]["items"];
  EXPECT_EQ(element["additionalProperties"], false);
  EXPECT_EQ(element["properties"]["match"]["type"], "string");
  EXPECT_EQ(schema["properties"]["epochs"]["anyOf"],
            Json::parse(R"([{"type": "integer", "minimum": 1}, {"type": "null"}])"));
  EXPECT_EQ(schema["properties"]["spike"]["anyOf"][0]["properties"]["window"]["minimum"], 1);
  EXPECT_EQ(
      schema["properties"]["bucket_mib"]["anyOf"],
      Json::parse(R"([{"type": "integer", "minimum": 1}, {"type": "string", "enum": ["auto"]}])"));
  EXPECT_EQ(schema["properties"]["train"]["anyOf"][0]["type"], "string");
}

/// The paths of all keys of a schema, as Declaration has them.
void collect(const Json& schema, const std::string& path, std::set<std::string>& paths) {
  if (schema.contains("anyOf")) collect(schema["anyOf"][0], path, paths);
  if (schema.contains("items")) collect(schema["items"], path + "[]", paths);
  if (!schema.contains("properties")) return;
  for (const auto& [name, inner] : schema["properties"].items()) {
    const std::string full = path.empty() ? name : path + "." + name;
    paths.insert(full);
    collect(inner, full, paths);
  }
}
TEST(Schema, AgreesWithTheDeclarations) {
  const Resolved resolved = describe<RunConfig>();
  std::set<std::string> of_schema;
  collect(Json::parse(json_schema(resolved)), "", of_schema);
  std::set<std::string> declared = {"extends"};
  for (const Declaration& key : resolved.declarations)
    EXPECT_TRUE(declared.insert(key.path).second) << key.path;
  EXPECT_EQ(of_schema, declared);
}

TEST(Describe, IsWhatTheDefaultsDeclare) {
  const Resolved resolved = describe<RunConfig>();
  std::vector<std::string> lines;
  for (const Declaration& key : resolved.declarations) {
    if (key.path.starts_with("optim")) {
      lines.push_back(key.path + "|" + to_string(key.type) + (key.identity ? "|identity" : ""));
    }
  }
  EXPECT_THAT(
      lines,
      ElementsAre("optim|mapping", "optim.name|text|identity", "optim.lr|number|identity",
                  "optim.betas|list of 2 numbers|identity", "optim.groups|list of mappings",
                  "optim.groups[].match|text|identity", "optim.groups[].lr_scale|number|identity",
                  "optim.groups[].frozen|boolean"));
}

TEST(Identity, JsonHoldsIdentityKeysOnlySorted) {
  EXPECT_EQ(identity_json(read("optim: {groups: [{match: x, frozen: true}]}").resolved),
            R"({"model.config.layers": 12, "model.name": "gpt", "optim.betas": [0.9, 0.95], )"
            R"("optim.groups[0].lr_scale": 1.0, "optim.groups[0].match": "x", "optim.lr": 0.0003, )"
            R"("optim.name": "adamw", "seed": 42, "train": ["data/a.h5"]})");
}

std::vector<std::string> lines_of(const std::vector<Difference>& differences) {
  std::vector<std::string> lines;
  for (const Difference& one : differences)
    lines.push_back(one.path + ": " + one.old_value + " -> " + one.new_value);
  return lines;
}

TEST(Identity, DifferencesNameTheKeys) {
  const auto old_config = read("optim: {groups: [{match: a}]}").resolved;
  const auto new_config =
      read("seed: 7\nworkers: 5\nepochs: 9\noptim: {lr: 1}\nmodel: {name: cnn}\n").resolved;
  EXPECT_THAT(
      lines_of(identity_differences(identity_json(old_config), identity_json(new_config))),
      ElementsAre("model.config.channels: absent -> 64", "model.config.layers: 12 -> absent",
                  R"(model.name: "gpt" -> "cnn")", "optim.groups[0].lr_scale: 1.0 -> absent",
                  R"(optim.groups[0].match: "a" -> absent)", "optim.lr: 0.0003 -> 1.0",
                  "seed: 42 -> 7"));
  EXPECT_THAT(lines_of(free_differences(full_json(old_config), full_json(new_config))),
              ElementsAre("epochs: null -> 9", "optim.groups: absent -> []",
                          "optim.groups[0].frozen: false -> absent", "workers: 2 -> 5"));
  EXPECT_THAT(identity_differences(identity_json(old_config), identity_json(old_config)),
              IsEmpty());
  EXPECT_THAT(free_differences(full_json(old_config), full_json(old_config)), IsEmpty());
}

TEST(Identity, WhereAValueWasWrittenDoesNotMatter) {
  const auto in_file = read("seed: 42\noptim: {lr: 3.0e-4}").resolved;
  EXPECT_EQ(identity_json(in_file), identity_json(read("").resolved));
  EXPECT_EQ(canonical_text(in_file), canonical_text(read("", {"seed=0x2a"}).resolved));
  EXPECT_THAT(identity_differences(R"({"a": 1})", R"({"a": 1.0})"), IsEmpty());
}

TEST(Identity, DamagedRecordsAreRefused) {
  for (const char* text : {"", "{", "[1]", "3", "{\"a\": }"}) {
    EXPECT_EQ(failure_of([&] { return identity_differences(text, "{}"); }).kind,
              ErrorKind::data_damaged)
        << text;
    EXPECT_EQ(failure_of([&] { return free_differences("{\"free\": {}}", text); }).kind,
              ErrorKind::data_damaged);
  }
  EXPECT_EQ(failure_of([&] { return free_differences("{}", "{\"free\": {}}"); }).kind,
            ErrorKind::data_damaged);
}

TEST(CanonicalText, HasEveryKeySorted) {
  const std::string text = canonical_text(read("").resolved);
  EXPECT_THAT(text,
              HasSubstr("bucket_mib = \"auto\"\ndeterministic = false\ndir = \"runs/default\"\n"));
  EXPECT_NE(text, canonical_text(read("workers: 3").resolved));
}

TEST(FromJson, RefusesWhatIsNotJson) {
  EXPECT_EQ(failure_of([] { return from_json("{"); }).kind, ErrorKind::configuration);
  EXPECT_THAT(
      failure_of([] { return from_json(std::string(1000, '[') + std::string(1000, ']')); }).message,
      HasSubstr("nested more than 64 levels"));
  EXPECT_EQ(to_json(from_json("[18446744073709551615, -1, 1.5, \"x\", {}]")),
            "[1.8446744073709552e+19, -1, 1.5, \"x\", {}]");
}

TEST(Nearest, FindsWhatIsMeant) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("sede", "seed"), 1u);
  EXPECT_EQ(edit_distance("same", "same"), 0u);
  EXPECT_EQ(nearest("batchsize", {"batch_size", "steps"}), "batch_size");
  EXPECT_EQ(nearest("warmup", {"name", "warmup_steps"}), "warmup_steps");
  EXPECT_EQ(nearest("wa", {"warmup_steps"}), "");
  EXPECT_EQ(nearest("lr", {"dir", "name"}), "");
  EXPECT_EQ(nearest("rl", {"lr", "name"}), "lr");
  EXPECT_EQ(nearest("ab", {"cd"}), "");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace trireme::config::testing
