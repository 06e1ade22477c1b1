// Sharded training on a network that is emulated: does a step take as long as its plan says?
//   bench_fabric [--ranks N] [--units N] [--forward-us N] [--backward-us N] [--latency-us N]
//                [--kib N] [--warmup N] [--blocks N] [--steps N]
// Ranks are threads whose units sleep instead of computing, so that two cores host any number of
// them; what shards, gathers and reduces is what trains. Collectives of the units' parameters
// (--kib each) are as slow as an emulated network, at bandwidths with which a unit's gather takes a
// third of its forward, as long as it, and twice as long. The plan is step_plan.h.
#include <trireme/autograd/backward.h>

#include "bench/blocks.h"
#include "bench/emulated_fabric.h"
#include "bench/step_plan.h"
#include "parallel/sharded_parameters.h"
#include "support/spawn_ranks.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

using namespace trireme;

namespace {

using autograd::Unit;

void sleep(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

/// The identity. It takes its time both ways, and its backward needs the weight.
class Sleep : public torch::autograd::Function<Sleep> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, double forward_seconds,
                            double backward_seconds) {
    context->save_for_backward({weight});
    context->saved_data["seconds"] = backward_seconds;
    sleep(forward_seconds);
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    sleep(context->saved_data["seconds"].toDouble());
    return {gradients[0], context->get_saved_variables()[0].clone(), at::Tensor(), at::Tensor()};
  }
};

class SleepingBlock final : public autograd::Block {
 public:
  SleepingBlock(const autograd::BuildContext& context, const bench::ShardedStep& step,
                int64_t elements)
      : Block(context), step_(step), weight_(parameter_constant("weight", {elements}, 1.0)) {}
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
    return {Sleep::apply(inputs[0], weight_, step_.forward, step_.backward)};
  }

 private:
  bench::ShardedStep step_;
  at::Tensor weight_;
};

/// Seconds of a step in each block on this rank.
std::vector<double> train(const comm::CommunicatorPtr& all, const bench::ShardedStep& step,
                          int64_t elements, const bench::Plan& plan) {
  telemetry::Recorder recorder;
  std::vector<std::unique_ptr<Unit>> units;
  for (int u = 0; u < step.units; ++u)
    units.push_back(std::make_unique<Unit>(
        "h." + std::to_string(u), [&step, elements](const autograd::BuildContext& context) {
          return std::make_unique<SleepingBlock>(context, step, elements);
        }));
  parallel::ShardedParameters sharded(
      {all, all->split(0, all->rank(), "shards"), all->split(all->rank(), 0, "replicas")},
      {.free_parameters = true}, recorder);
  for (const auto& unit : units) {
    unit->build({});
    sharded.add(*unit);
  }
  return bench::measure(plan, [&] {
    at::Tensor x = at::ones({1}).requires_grad_();
    for (const auto& unit : units) x = (*unit)(x);
    sharded.begin_backward(true);
    autograd::backward(x.sum());
    sharded.end_backward();
    static_cast<void>(sharded.finish());
    sharded.parameters_changed();
  });
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  at::set_num_threads(1);
  autograd::install_engine();
  const int ranks = static_cast<int>(arguments.number("ranks", 4));
  const int64_t elements = arguments.number("kib", 64) * 256;
  const double latency = 1e-6 * static_cast<double>(arguments.number("latency-us", 200));
  bench::ShardedStep step{
      .units = static_cast<int>(arguments.number("units", 8)),
      .forward = 1e-6 * static_cast<double>(arguments.number("forward-us", 15000)),
      .backward = 1e-6 * static_cast<double>(arguments.number("backward-us", 30000))};
  const bench::Plan plan = bench::Plan{.warmup = 2, .blocks = 11, .steps = 1}.overridden(arguments);
  const double bytes = bench::ring_bytes(4.0 * static_cast<double>(elements), ranks);

  nlohmann::json figures = {{"ranks", ranks}};
  const std::vector<std::pair<std::string, double>> gathers = {
      {"hidden", step.forward / 3}, {"balanced", step.forward}, {"dominating", 2 * step.forward}};
  for (const auto& [name, seconds] : gathers) {
    const bench::FabricSpeed speed{latency, bytes / (seconds - latency)};
    const auto fabric = std::make_shared<bench::EmulatedFabric>(ranks, speed);
    step.gather = step.reduce = speed.seconds(bytes);
    step.agreement = speed.seconds(2 * bench::ring_bytes(4.0 * step.units, ranks));
    std::vector<double> measured;
    test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& rank) {
      const auto own =
          train(std::make_shared<bench::FabricCommunicator>(rank, fabric), step, elements, plan);
      if (rank->rank() == 0) measured = own;
    });
    const auto ms = [](double s) {
      return 1e3 * s;
    };
    figures[name] = {{"measured_ms", bench::summary(bench::changed(measured, ms))},
                     {"planned_ms", ms(bench::critical_path(step))},
                     {"computing_ms", ms(step.units * (step.forward + step.backward))},
                     {"mib_per_second", speed.bytes_per_second / (1 << 20)}};
  }
  bench::report("fabric", figures);
}
