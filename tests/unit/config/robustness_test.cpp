#include "unit/config/run_config.h"

#include <random>

namespace trireme::config::testing {
namespace {

constexpr std::string_view seed_text = R"(# a run
dir: "runs/x"
seed: 7
epochs: 3
train: [a.h5, 'b c.h5']
bucket_mib: auto
model: {name: cnn, config: {channels: 32}}
optim:
  lr: 1e-3
  betas: [0.9, 0.99]
  groups: &g
    - match: "*.bias"
      lr_scale: 0.1
    - {match: head, frozen: true}
spike:
  window: 5
  factor: 2.5
)";

std::string mutated(std::mt19937& random) {
  constexpr std::string_view pieces[] = {
      "{",     "}",     "[",      "]",         ": ", "- ",   "\n",   "\n  ",        "&a ",
      "*a ",   "*g",    "!!str ", "\"",        "'",  "|\n",  ">",    "#",           "%",
      "---\n", "...\n", "? ",     "\t",        ", ", "<<: ", "\xff", "\xc3\xa4",    "0x",
      "1e999", "null",  "~",      "extends: ", "@",  "`",    "\r",   "\xef\xbb\xbf"};
  std::string text(seed_text);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  for (std::size_t left = 1 + below(6); left > 0; --left) {
    const std::size_t at = below(text.size());
    switch (below(5)) {
      case 0:
        text.insert(at, pieces[below(std::size(pieces))]);
        break;
      case 1:
        text.erase(at, 1 + below(8));
        break;
      case 2:
        text[at] = static_cast<char>(below(256));
        break;
      case 3:
        text.insert(at, text.substr(below(text.size()), below(40)));
        break;
      default:
        text.resize(at + 1);
        break;
    }
    if (text.empty()) text.push_back(' ');
  }
  return text;
}

TEST(Robustness, MutatedTextsGiveAValueOrAnError) {
  std::mt19937 random(20261121);
  int values = 0;
  int errors = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string text = mutated(random);
    try {
      const auto loaded = read(text);
      ++values;
      // What was accepted survives being written and read again.
      EXPECT_EQ(canonical_text(read(to_yaml(loaded.resolved, true)).resolved),
                canonical_text(loaded.resolved))
          << text;
    } catch (const Error& error) {
      ++errors;
      EXPECT_TRUE(error.kind() == ErrorKind::configuration ||
                  error.kind() == ErrorKind::input_missing)
          << text;
      EXPECT_FALSE(error.message().empty());
    }
  }
  EXPECT_GT(values, 100);
  EXPECT_GT(errors, 100);
}

TEST(Robustness, MutatedOverridesGiveAValueOrAnError) {
  std::mt19937 random(7);
  const std::string characters = "abc.[]=0123{}:, \"'*&!#-_lroptimgroups\n\xc3";
  for (int i = 0; i < 6000; ++i) {
    std::string assignment = i % 2 == 0 ? "optim.groups[0].lr_scale=1e-3" : "train=[a, {b: c}]";
    for (int j = 0; j < 3; ++j) {
      assignment[random() % assignment.size()] = characters[random() % characters.size()];
    }
    try {
      (void)read(seed_text, {assignment});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::configuration) << assignment;
    }
  }
}

}  // namespace
}  // namespace trireme::config::testing
