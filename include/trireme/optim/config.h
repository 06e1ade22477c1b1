#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace trireme::optim {

/// Settings for the parameters whose full name matches a pattern; the first group that matches a
/// parameter has it.
struct GroupConfig {
  std::string match;
  double lr_scale = 1.0;
  std::optional<double> weight_decay;
  bool frozen = false;

  template <class B>
  void bind(B& b) {
    b.key("match", match)
        .doc("pattern of parameter names; * stands for any characters, ? for one")
        .identity();
    b.key("lr_scale", lr_scale).doc("factor on the learning rate").at_least(0.0).identity();
    b.key("weight_decay", weight_decay)
        .doc("weight decay of all these parameters; null: that of optim, as decay_all says")
        .identity();
    b.key("frozen", frozen).doc("the parameters are not trained").identity();
  }
};

struct OptimConfig {
  std::string name = "adamw";
  double lr = 3e-4;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0.1;
  bool decay_all = false;
  std::string state = "fp32";
  bool masters = true;
  std::vector<GroupConfig> groups;

  template <class B>
  void bind(B& b) {
    b.key("name", name)
        .doc("update rule")
        .one_of({"adamw", "adam", "sgd", "adagrad", "lion", "lamb"})
        .identity();
    b.key("lr", lr).doc("peak learning rate").at_least(0.0).identity();
    b.key("betas", betas).doc("decay of the two moments (adamw, adam, lion, lamb)").identity();
    b.key("eps", eps)
        .doc("added to the denominator (adamw, adam, adagrad, lamb)")
        .at_least(0.0)
        .identity();
    b.key("momentum", momentum).doc("momentum of sgd; 0: none").at_least(0.0).below(1.0).identity();
    b.key("nesterov", nesterov).doc("sgd looks ahead along the momentum").identity();
    b.key("weight_decay", weight_decay)
        .doc("decoupled from the gradient in adamw, lion and lamb, added to it in the others")
        .at_least(0.0)
        .identity();
    b.key("decay_all", decay_all)
        .doc("also decay parameters of fewer than two dimensions (biases, norms)")
        .identity();
    b.key("state", state)
        .doc("type in which moments are stored; bf16 is rounded stochastically")
        .one_of({"fp32", "bf16"})
        .identity();
    b.key("masters", masters)
        .doc(
            "bfloat16 parameters have float32 masters; false: they are updated themselves, rounded "
            "stochastically")
        .identity();
    b.key("groups", groups).doc("settings of single parameters; the first match wins").identity();
  }
};

}  // namespace trireme::optim
