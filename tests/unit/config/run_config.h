#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <trireme/config/load.h>
#include <trireme/core/error.h>

namespace trireme::config::testing {

struct Group {
  std::string match;
  double lr_scale = 1;
  bool frozen = false;
  template <class B>
  void bind(B& b) {
    b.key("match", match).doc("a glob of parameter names").identity();
    b.key("lr_scale", lr_scale).at_least(0).identity();
    b.key("frozen", frozen);
  }
};

struct Optim {
  std::string name = "adamw";
  double lr = 3e-4;
  std::array<double, 2> betas = {0.9, 0.95};
  std::vector<Group> groups;
  template <class B>
  void bind(B& b) {
    b.key("name", name).doc("the update rule").one_of({"adamw", "sgd", "lion"}).identity();
    b.key("lr", lr).doc("peak learning rate").unit("per step").above(0).at_most(10).identity();
    b.key("betas", betas).at_least(0).below(1).identity();
    b.key("groups", groups).doc("exceptions for some parameters");
  }
};

struct Spike {
  int64_t window = 100;
  double factor = 4;
  template <class B>
  void bind(B& b) {
    b.key("window", window).at_least(1).unit("steps");
    b.key("factor", factor).above(1);
  }
};

struct GptSettings {
  int64_t layers = 12;
  template <class B>
  void bind(B& b) {
    b.key("layers", layers).doc("blocks").at_least(1).identity();
  }
};
struct CnnSettings {
  int64_t channels = 64;
  template <class B>
  void bind(B& b) {
    b.key("channels", channels).at_least(1).identity();
  }
};

struct ModelConfig {
  std::string name = "gpt";
  GptSettings gpt;
  CnnSettings cnn;
  JsonObject free_form;
  template <class B>
  void bind(B& b) {
    b.key("name", name).one_of({"gpt", "cnn", "plugin"}).identity();
    if (name == "gpt") b.section("config", gpt, "the transformer");
    if (name == "cnn") b.section("config", cnn);
    if (name == "plugin") b.key("config", free_form).doc("read by the plugin").identity();
  }
};

struct RunConfig {
  std::string dir = "runs/default";
  int64_t seed = 42;
  bool deterministic = false;
  std::optional<int64_t> epochs;
  std::vector<std::string> train = {"data/a.h5"};
  std::vector<int64_t> ladder = {1, 2};
  std::variant<int64_t, std::string> bucket_mib = "auto";
  int workers = 2;
  ModelConfig model;
  Optim optim;
  std::optional<Spike> spike;

  template <class B>
  void bind(B& b) {
    b.key("dir", dir).doc("the run folder");
    b.key("seed", seed).at_least(0).identity();
    b.key("deterministic", deterministic);
    b.key("epochs", epochs).doc("passes over the data").at_least(1);
    b.key("train", train).identity();
    b.key("ladder", ladder).at_least(1);
    b.key("bucket_mib", bucket_mib).one_of({"auto"}).at_least(1).unit("MiB");
    b.key("workers", workers).at_least(0).at_most(64);
    b.section("model", model, "what is trained");
    b.section("optim", optim, "how it is trained");
    b.key("spike", spike).doc("what to do about loss spikes");
  }
};

inline Loaded<RunConfig> read(std::string_view text, const std::vector<std::string>& overrides = {}) {
  return load_text<RunConfig>(text, "run.yaml", overrides);
}

struct Failure {
  ErrorKind kind = ErrorKind::unexpected;
  std::string message;
  std::string hint;
};
template <std::invocable F>
Failure failure_of(const F& call) {
  try {
    (void)call();
  } catch (const Error& error) {
    return {error.kind(), error.message(), error.hint()};
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}
inline Failure failure_of(std::string_view text, const std::vector<std::string>& overrides = {}) {
  return failure_of([&] { return read(text, overrides); });
}

}  // namespace trireme::config::testing
