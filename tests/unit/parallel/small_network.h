#pragma once

#include <trireme/autograd/unit.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

namespace trireme::parallel {

// Values without the default generator, which all ranks of the process would share.
inline at::Tensor waves(at::IntArrayRef shape, double phase) {
  int64_t n = 1;
  for (const int64_t s : shape) n *= s;
  return at::sin(at::arange(n, at::kFloat) * 0.7 + phase).reshape(shape);
}

inline at::Tensor tokens(int rank, int micro, int64_t rows = 5) {
  return (at::arange(rows, at::kLong) * 3 + 5 * rank + 7 * micro).remainder(11);
}

/// A small language model of units of odd sizes: a table that is embedding (with sparse gradients)
/// and head, and between them layers that have trained, frozen and unused parameters.
class SmallNetwork {
 public:
  /// Called inside of each layer, in forward and in backward.
  std::function<void()> probe = [] {
  };
  /// Called with a layer's name and parameters inside of its forward.
  std::function<void(const std::string&, const core::ParameterSet&)> visit =
      [](const std::string&, const core::ParameterSet&) {
      };
  bool use_extra = false;  ///< whether "h.0.extra" has a part in the loss
  bool tied = true;        ///< whether the table is the head, too

  explicit SmallNetwork(at::ScalarType type = at::kFloat)
      : table_("table", [](const auto& c) { return std::make_unique<Table>(c); }),
        first_("h.0", [this](const auto& c) { return std::make_unique<Layer>(*this, c, 6, 5); }),
        second_("h.1", [this](const auto& c) { return std::make_unique<Layer>(*this, c, 5, 9); }),
        last_("h.2", [this](const auto& c) { return std::make_unique<Layer>(*this, c, 9, 6); }) {
    context_.dtype = type;
    context_.random = core::RandomKey(3);
  }
  SmallNetwork(const SmallNetwork&) = delete;
  SmallNetwork& operator=(const SmallNetwork&) = delete;

  /// Builds one unit after the other and passes each on.
  void build(const std::function<void(autograd::Unit&)>& add = [](autograd::Unit&) {}) {
    for (autograd::Unit* unit : units()) {
      unit->build(context_);
      for (const core::Parameter& p : unit->parameters())
        if (p.name.ends_with(".frozen")) p.tensor.requires_grad_(false);
      add(*unit);
    }
  }

  std::vector<autograd::Unit*> units() { return {&table_, &first_, &second_, &last_}; }
  autograd::Unit& table() { return table_; }
  autograd::Unit& layer(int i) { return *units()[static_cast<size_t>(i) + 1]; }

  core::ParameterSet parameters() {
    core::ParameterSet all;
    for (autograd::Unit* unit : units())
      for (core::Parameter& p : unit->parameters()) all.push_back(std::move(p));
    return all;
  }
  core::ParameterSet trained() {
    core::ParameterSet all;
    for (core::Parameter& p : parameters())
      if (p.tensor.requires_grad()) all.push_back(std::move(p));
    return all;
  }

  at::Tensor hidden(const at::Tensor& x) { return last_(second_(first_(table_(x)))); }
  at::Tensor loss(const at::Tensor& x) {
    at::Tensor y = hidden(x);
    if (tied) y = table_(y);
    const at::Tensor wanted = waves({11, y.size(1)}, 4).index_select(0, x);
    return (y.to(at::kFloat) - wanted).square().sum() * 0.1;
  }

 private:
  using Tensors = std::vector<at::Tensor>;

  class Table final : public autograd::Block {
   public:
    explicit Table(const autograd::BuildContext& context) : Block(context) {
      weight_ = parameter_uniform("weight", {11, 6}, -0.5, 0.5);
    }
    Tensors forward(const Tensors& inputs) override {
      if (at::isIntegralType(inputs[0].scalar_type(), false))
        return {at::embedding(weight_, inputs[0], -1, false, true)};
      return {at::linear(inputs[0], weight_)};
    }

   private:
    at::Tensor weight_;
  };

  class Layer final : public autograd::Block {
   public:
    Layer(SmallNetwork& network, const autograd::BuildContext& context, int64_t in, int64_t out)
        : Block(context), network_(network) {
      weight_ = parameter_uniform("weight", {in, out}, -0.5, 0.5);
      frozen_ = parameter_uniform("frozen", {out}, 0.5, 1.5);
      parameter_uniform("idle", {3}, -1.0, 1.0);
      bias_ = parameter_uniform("bias", {out}, -0.5, 0.5);
      extra_ = parameter_uniform("extra", {17, out}, -0.5, 0.5);
    }
    Tensors forward(const Tensors& inputs) override {
      network_.probe();
      network_.visit(this->context().scope, parameters());
      at::Tensor y = at::tanh(at::mm(inputs[0], weight_) * frozen_ + bias_);
      if (network_.use_extra && this->context().scope == "h.0") y = y + extra_.sum(0);
      // Before the operations above in backward: inside of the layer.
      y = y * 1.5;
      if (y.requires_grad()) y.grad_fn()->add_pre_hook(std::make_unique<Probe>(network_));
      return {y};
    }

   private:
    struct Probe final : torch::autograd::FunctionPreHook {
      explicit Probe(SmallNetwork& n) : network(n) {}
      torch::autograd::variable_list operator()(
          const torch::autograd::variable_list& gradients) override {
        network.probe();
        return gradients;
      }
      SmallNetwork& network;
    };
    SmallNetwork& network_;
    at::Tensor weight_, bias_, frozen_, extra_;
  };

  autograd::BuildContext context_;
  autograd::Unit table_, first_, second_, last_;
};

}  // namespace trireme::parallel
