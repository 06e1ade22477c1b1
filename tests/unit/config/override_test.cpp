#include "unit/config/run_config.h"

namespace trireme::config::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

TEST(Override, TakesYamlValues) {
  const auto [value, resolved] =
      read("", {"dir=runs/a b", "seed=0x10", "deterministic=true", "epochs=null",
                "train=[a.h5, b.h5]", "optim.betas=[0.9,0.99]", "optim.lr=1e-3", "bucket_mib=25",
                "spike={window: 3}", "model.name=cnn", "model.config.channels=16"});
  EXPECT_EQ(value.dir, "runs/a b");
  EXPECT_EQ(value.seed, 16);
  EXPECT_TRUE(value.deterministic);
  EXPECT_EQ(value.epochs, std::nullopt);
  EXPECT_THAT(value.train, ElementsAre("a.h5", "b.h5"));
  EXPECT_THAT(value.optim.betas, ElementsAre(0.9, 0.99));
  EXPECT_EQ(value.optim.lr, 1e-3);
  EXPECT_EQ(value.spike->window, 3);
  EXPECT_EQ(value.model.cnn.channels, 16);
  EXPECT_EQ(resolved.find("epochs")->origin, "command line: epochs=null");
  EXPECT_EQ(resolved.find("spike.window")->origin, "command line: spike={window: 3}");
  EXPECT_EQ(resolved.find("spike.factor")->origin, "default");
}

TEST(Override, WinsOverTheFileAndTheLastOneWins) {
  const auto [value, resolved] =
      read("seed: 1\noptim: {lr: 1, name: sgd}\n", {"seed=2", "seed=3", "optim.lr=0.5"});
  EXPECT_EQ(value.seed, 3);
  EXPECT_EQ(value.optim.lr, 0.5);
  EXPECT_EQ(value.optim.name, "sgd");
  EXPECT_EQ(resolved.find("optim.name")->origin, "run.yaml:2:22");
}

TEST(Override, MappingsMergeListsReplace) {
  const RunConfig value =
      read("optim: {lr: 1, name: sgd}\ntrain: [a, b]\n", {"optim={lr: 0.5}", "train=[c]"}).value;
  EXPECT_EQ(value.optim.lr, 0.5);
  EXPECT_EQ(value.optim.name, "sgd");
  EXPECT_THAT(value.train, ElementsAre("c"));
}

TEST(Override, ReachesListElements) {
  const char* text = "optim: {groups: [{match: a}, {match: b}]}\nladder: [1, 2]\n";
  const RunConfig value = read(text, {"optim.groups[1].match=c", "optim.groups[2].match=d",
                                      "ladder[0]=7", "ladder[2]=9"})
                              .value;
  ASSERT_EQ(value.optim.groups.size(), 3u);
  EXPECT_EQ(value.optim.groups[0].match, "a");
  EXPECT_EQ(value.optim.groups[1].match, "c");
  EXPECT_EQ(value.optim.groups[2].match, "d");
  EXPECT_THAT(value.ladder, ElementsAre(7, 2, 9));
}

TEST(Override, TextsThatYamlWouldReadOtherwise) {
  EXPECT_THAT(read("", {"train=*.h5"}).value.train, ElementsAre("*.h5"));
  EXPECT_EQ(read("", {"dir='42'"}).value.dir, "42");
  EXPECT_EQ(read("", {"dir=a=b"}).value.dir, "a=b");
  EXPECT_EQ(read("", {"dir=\"\""}).value.dir, "");
  EXPECT_EQ(read("epochs: 3", {"epochs="}).value.epochs, std::nullopt);
}

TEST(Override, NullTurnsASectionBackToItsDefaults) {
  EXPECT_EQ(read("optim: {lr: 1}", {"optim=null"}).value.optim.lr, 3e-4);
  EXPECT_FALSE(read("spike: {window: 1}", {"spike=null"}).value.spike.has_value());
  EXPECT_EQ(read("spike: null", {"spike.window=2"}).value.spike->window, 2);
}

struct Wrong {
  const char* assignment;
  const char* message;
  const char* hint;
};
class OverrideRefuses : public ::testing::TestWithParam<Wrong> {};
TEST_P(OverrideRefuses, NamingTheWholeArgument) {
  const auto failure = failure_of("optim: {groups: [{match: a}]}", {GetParam().assignment});
  EXPECT_EQ(failure.kind, ErrorKind::configuration);
  EXPECT_EQ(failure.message,
            std::string("command line: ") + GetParam().assignment + ": " + GetParam().message);
  EXPECT_EQ(failure.hint, GetParam().hint);
}
constexpr const char* form = "write key.path=value, e.g. optim.lr=1e-3";
constexpr const char* indices =
    "indices count from 0 and may add one element at the end; or give the whole list";
INSTANTIATE_TEST_SUITE_P(
    Forms, OverrideRefuses,
    ::testing::Values(
        Wrong{"seed", "malformed override", form}, Wrong{"", "malformed override", form},
        Wrong{"=3", "malformed override", form}, Wrong{"optim.=3", "malformed override", form},
        Wrong{".lr=3", "malformed override", form},
        Wrong{"optim..lr=3", "malformed override", form},
        Wrong{"optim.lr =3", "malformed override", form},
        Wrong{"--seed=3", "--seed: unknown key", "did you mean 'seed'?"},
        Wrong{"ladder[]=3", "malformed override", form},
        Wrong{"ladder[x]=3", "malformed override", form},
        Wrong{"ladder[-1]=3", "malformed override", form},
        Wrong{"ladder[0=3", "malformed override", form},
        Wrong{"ladder[0]x=3", "malformed override", form},
        Wrong{"[0]=3", "malformed override", form},
        Wrong{"ladder[99999999999999999999]=3", "malformed override", form},
        Wrong{"optim.groups[2].match=x",
              "optim.groups[2].match: there is no such list element in the file", indices},
        Wrong{"ladder[0]=3", "ladder[0]: there is no such list element in the file", indices},
        Wrong{"seed[0]=3", "seed[0]: there is no such list element in the file", indices},
        Wrong{"train=[a",
              "train: malformed value: value:2:1: YAML syntax error: flow sequence without a "
              "closing bracket",
              ""},
        Wrong{"optim={lr: 1, lr: 2}", "optim: malformed value: duplicate key",
              "it is first set at value:1:2"},
        Wrong{"seed=!!int 3",
              "seed: malformed value: the tag tag:yaml.org,2002:int is not supported",
              "put a value in quotes to make it a text"},
        Wrong{"dir=#1", "dir: malformed value: the value is only a comment", "put it in quotes"},
        Wrong{"sede=1", "sede: unknown key", "did you mean 'seed'?"},
        Wrong{"optim.rl=1", "optim.rl: unknown key", "did you mean 'lr'?"},
        Wrong{"lr=1", "lr: unknown key", "did you mean 'optim.lr'?"},
        Wrong{"extends=a.yaml", "extends: unknown key", "extends stands at the top of a file"},
        Wrong{"optim.lr=fast", "optim.lr: expected number, found the text 'fast'",
              "trireme config explain optim.lr prints what it takes"},
        Wrong{"seed.x=1", "seed: expected integer, found a mapping",
              "trireme config explain seed prints what it takes"},
        Wrong{"optim.lr=-1", "optim.lr: -1 is out of range", "allowed: above 0, at most 10"}));

TEST(Override, BadBytesAreRefused) {
  EXPECT_THAT(failure_of("", {"dir=\xff"}).message,
              StartsWith("command line: dir=\xff: dir: malformed value: "));
  EXPECT_THAT(failure_of("", {std::string("dir=\x01")}).message,
              StartsWith("command line: dir=\\x01: dir: malformed"));
}

}  // namespace
}  // namespace trireme::config::testing
