#pragma once

#include <trireme/autograd/backward.h>
#include <trireme/debug/tool.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

namespace trireme::debug {

using nlohmann::json;
using Tensors = std::vector<at::Tensor>;

/// Keeps what a tool says.
class Notes final : public Journal {
 public:
  void record(json fields) override {
    const std::lock_guard lock(mutex_);
    records.push_back(std::move(fields));
  }
  void finding(const std::string& text) override {
    const std::lock_guard lock(mutex_);
    findings.push_back(text);
  }

  [[nodiscard]] std::vector<json> with(const std::string& key) const {
    std::vector<json> found;
    for (const json& one : records)
      if (one.contains(key)) found.push_back(one);
    return found;
  }
  [[nodiscard]] std::vector<json> of(const std::string& key, const json& value) const {
    std::vector<json> found;
    for (const json& one : records)
      if (one.contains(key) && one[key] == value) found.push_back(one);
    return found;
  }
  [[nodiscard]] std::string all_findings() const {
    std::string all;
    for (const std::string& one : findings) all += one + "\n";
    return all;
  }

  std::vector<json> records;
  std::vector<std::string> findings;

 private:
  std::mutex mutex_;
};

/// Units "h.0", "h.1", ... of y = tanh(x w + b), one after the other.
class Chain {
 public:
  static constexpr int64_t width = 6;
  /// Called with a unit's result, by its name.
  std::map<std::string, std::function<at::Tensor(const at::Tensor&)>> then;

  explicit Chain(int depth = 3, double size = 0.5, at::ScalarType type = at::kFloat) {
    autograd::BuildContext context;
    context.random = core::RandomKey(11);
    context.dtype = type;
    for (int i = 0; i < depth; ++i) {
      units_.push_back(std::make_unique<autograd::Unit>(
          "h." + std::to_string(i), [this, size](const autograd::BuildContext& c) {
            return std::make_unique<Layer>(*this, c, size);
          }));
      units_.back()->build(context);
    }
  }
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  [[nodiscard]] std::vector<autograd::Unit*> units() const {
    std::vector<autograd::Unit*> all;
    for (const auto& unit : units_) all.push_back(unit.get());
    return all;
  }
  [[nodiscard]] core::ParameterSet parameters() const {
    core::ParameterSet all;
    for (const auto& unit : units_)
      for (core::Parameter& p : unit->parameters()) all.push_back(std::move(p));
    return all;
  }
  [[nodiscard]] at::Tensor loss(at::Tensor x) const {
    for (const auto& unit : units_) x = (*unit)(x);
    return (x.scalar_type() == at::kDouble ? x : x.to(at::kFloat)).square().sum();
  }

 private:
  class Layer final : public autograd::Block {
   public:
    Layer(Chain& chain, const autograd::BuildContext& context, double size)
        : Block(context), chain_(chain) {
      weight_ = parameter_uniform("weight", {width, width}, -size, size);
      bias_ = parameter_uniform("bias", {width}, -size, size);
    }
    Tensors forward(const Tensors& inputs) override {
      const at::Tensor y = at::tanh(at::mm(inputs[0], weight_) + bias_);
      const auto found = chain_.then.find(context().scope);
      return {found != chain_.then.end() ? found->second(y) : y};
    }

   private:
    Chain& chain_;
    at::Tensor weight_, bias_;
  };
  std::vector<std::unique_ptr<autograd::Unit>> units_;
};

inline at::Tensor chain_input(int64_t rows = 4, at::ScalarType type = at::kFloat) {
  return at::sin(at::arange(rows * Chain::width, at::kFloat))
      .reshape({rows, Chain::width})
      .to(type);
}

/// Leads tools through the moments of steps, as the trainer does.
class Training {
 public:
  explicit Training(std::vector<autograd::Unit*> units, core::ParameterSet parameters) {
    subject.units = std::move(units);
    subject.parameters = std::move(parameters);
  }
  explicit Training(const Chain& chain) : Training(chain.units(), chain.parameters()) {}

  void on(Switch which) { tools.push_back(make_tool(which, subject, notes)); }

  struct Step {
    std::vector<std::function<at::Tensor()>> losses;  ///< of the micro-steps
    double scale = 1;                                 ///< of backward
    double clipping = 1;
    bool tells_mean_scale = true;
    double lr = 0.1;
    bool looks = true;
    std::vector<core::Batch> batches = {};
  };
  /// The sum of the losses.
  at::Tensor run(const Step& step) {
    ++steps_;
    each([&](Tool& t) { t.begin_step({steps_, step.looks}); });
    if (!step.batches.empty()) {
      const BatchSeen seen{.micro_batches = &step.batches,
                           .global_count = step.batches.front().size()};
      each([&](Tool& t) { t.batch(seen); });
    }
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (size_t m = 0; m < step.losses.size(); ++m) {
      const at::Tensor loss = step.losses[m]();
      const at::Tensor weight = at::full({}, 4.0, at::kDouble);
      each([&](Tool& t) { t.loss({m, &loss, &weight}); });
      if (before_backward) before_backward();
      autograd::backward(loss, step.scale);
      sum += loss.detach();
    }
    const at::Tensor gradient_scale = at::full({}, step.clipping / step.scale, at::kFloat);
    const at::Tensor nonfinite = at::zeros({}, at::kFloat);
    const at::Tensor mean_scale = at::full({}, 1.0 / step.scale, at::kFloat);
    each([&](Tool& t) {
      t.gradients({.gradient_scale = &gradient_scale,
                   .mean_scale = step.tells_mean_scale ? &mean_scale : nullptr,
                   .nonfinite = &nonfinite});
    });
    {
      const at::NoGradGuard no_grad;
      for (const core::Parameter& p : subject.parameters) {
        if (!p.tensor.grad().defined()) continue;
        p.tensor.sub_(p.tensor.grad().to_dense(), step.lr / step.scale);
        p.tensor.mutable_grad() = at::Tensor();
      }
    }
    each([&](Tool& t) { t.updated({step.lr}); });
    each([&](Tool& t) { t.end_step(); });
    each([&](Tool& t) {
      t.decided(
          {.step = steps_, .loss = sum.item<double>(), .lr = step.lr, .loss_scale = step.scale});
    });
    return sum;
  }
  at::Tensor run(const std::function<at::Tensor()>& loss) { return run(Step{.losses = {loss}}); }

  [[nodiscard]] json digest() { return tools.front()->digest(); }

  Subject subject;
  Notes notes;
  std::vector<std::unique_ptr<Tool>> tools;
  std::function<void()> before_backward;

 private:
  template <class Call>
  void each(const Call& call) {
    for (const auto& tool : tools) call(*tool);
  }
  int64_t steps_ = 0;
};

}  // namespace trireme::debug
