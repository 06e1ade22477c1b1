#include <trireme/autograd/backward.h>

#include "parallel/sharded_parameters.h"
#include "support/spawn_ranks.h"
#include "unit/parallel/sharded_rank.h"

#include <gtest/gtest.h>

namespace trireme::parallel {
namespace {

using Tensors = std::vector<at::Tensor>;

class Inner final : public autograd::Block {
 public:
  explicit Inner(const autograd::BuildContext& context) : Block(context) {
    weight_ = parameter_uniform("weight", {6, 6}, -0.5, 0.5);
    bias_ = parameter_uniform("bias", {6}, -0.5, 0.5);
  }
  Tensors forward(const Tensors& inputs) override {
    return {at::tanh(at::mm(inputs[0], weight_)) + bias_};
  }

 private:
  at::Tensor weight_, bias_;
};

class Outer final : public autograd::Block {
 public:
  Outer(const autograd::BuildContext& context, autograd::Unit& inner)
      : Block(context), inner_(inner) {
    weight_ = parameter_uniform("weight", {6, 6}, -0.5, 0.5);
  }
  Tensors forward(const Tensors& inputs) override {
    const at::Tensor y = inner_(at::gelu(at::mm(inputs[0], weight_)));
    return {at::sigmoid(at::mm(y, weight_)) + inputs[0]};
  }

 private:
  autograd::Unit& inner_;
  at::Tensor weight_;
};

/// Two units that hold one each.
struct Nest {
  explicit Nest(bool recompute) {
    for (int i = 0; i < 2; ++i) {
      const std::string name = "h." + std::to_string(i);
      inner.push_back(std::make_unique<autograd::Unit>(
          name + ".inner", [](const auto& c) { return std::make_unique<Inner>(c); }));
      outer.push_back(
          std::make_unique<autograd::Unit>(name, [unit = inner.back().get()](const auto& c) {
            return std::make_unique<Outer>(c, *unit);
          }));
      outer.back()->set_activations(
          {.recompute = recompute ? autograd::Unit::Activations::Recompute::all
                                  : autograd::Unit::Activations::Recompute::none});
    }
  }
  [[nodiscard]] std::vector<autograd::Unit*> units() const {
    return {outer[0].get(), inner[0].get(), outer[1].get(), inner[1].get()};
  }
  [[nodiscard]] at::Tensor loss(int rank) const {
    return (*outer[1])((*outer[0])(waves({4, 6}, rank))).square().sum();
  }
  std::vector<std::unique_ptr<autograd::Unit>> inner, outer;
};

std::vector<at::Tensor> trained_alone(int ranks) {
  const Nest nest(false);
  core::ParameterSet all;
  for (autograd::Unit* unit : nest.units()) {
    unit->build({.random = core::RandomKey(5)});
    for (const core::Parameter& p : unit->parameters()) all.push_back(p);
  }
  for (int step = 0; step < 3; ++step) {
    for (int r = 0; r < ranks; ++r) autograd::backward(nest.loss(r));
    descend(all);
  }
  std::vector<at::Tensor> values;
  for (const core::Parameter& p : all) values.push_back(p.tensor.detach());
  return values;
}

TEST(NestedUnits, TrainLikeOneProcessRecomputedOrNot) {
  constexpr int ranks = 3;
  const std::vector<at::Tensor> wanted = trained_alone(ranks);
  for (const bool recompute : {false, true})
    for (const bool free_after_forward : {true, false})
      test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
        const Nest nest(recompute);
        telemetry::Recorder recorder;
        ShardedParameters sharded(
            ranks_of(all, ranks),
            {.free_parameters = true, .free_after_forward = free_after_forward}, recorder);
        for (autograd::Unit* unit : nest.units()) {
          unit->build({.random = core::RandomKey(5)});
          sharded.add(*unit);
        }
        for (int step = 0; step < 3; ++step) {
          const at::Tensor loss = nest.loss(all->rank());
          sharded.begin_backward(true);
          autograd::backward(loss);
          sharded.end_backward();
          EXPECT_TRUE(sharded.finish().unused.empty());
          descend(sharded.fragments());
          sharded.parameters_changed();
        }
        for (size_t i = 0; i < wanted.size(); ++i) {
          const core::Parameter& mine = sharded.fragments()[i];
          EXPECT_TRUE(at::allclose(
              mine.tensor, wanted[i].flatten().narrow(0, mine.fragment->begin, mine.tensor.numel()),
              1e-5, 1e-6))
              << mine.name;
        }
      });
}

}  // namespace
}  // namespace trireme::parallel
