// What recording operations costs: a training step of a small MLP, about 3 ms and 700 operations, untraced and traced, in turn:
//   bench_operator_trace [--shapes 1]
// Times are those that the thread computes, so that others on the machine count less.
#include <trireme/autograd/backward.h>
#include <trireme/telemetry/memory.h>
#include <trireme/telemetry/operator_tracer.h>

#include "bench/blocks.h"

#include <ctime>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

using namespace trireme;

namespace {

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// The same as peers/operator_trace.py.
class Network {
 public:
  Network(int64_t layers, int64_t width, int64_t batch) {
    for (int64_t i = 0; i < layers; ++i) {
      weights_.push_back(at::randn({width, width}).mul_(1 / std::sqrt(static_cast<double>(width))).requires_grad_());
      biases_.push_back(at::zeros({width}).requires_grad_());
    }
    x_ = at::randn({batch, width});
  }
  void step() {
    at::Tensor x = x_;
    for (size_t i = 0; i < weights_.size(); ++i) x = at::relu(at::linear(x, weights_[i], biases_[i]));
    x.square().mean().backward();
    for (auto* const parameters : {&weights_, &biases_})
      for (at::Tensor& parameter : *parameters) parameter.mutable_grad().reset();
  }

 private:
  std::vector<at::Tensor> weights_, biases_;
  at::Tensor x_;
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  const bool shapes = arguments.number("shapes", 0) != 0;
  const telemetry::OperatorTracer::Settings settings{
      .shapes = shapes, .flops = false, .memory = arguments.number("memory", 0) != 0, .stacks = false};
  at::set_num_threads(1);
  telemetry::install_counting_allocator();
  autograd::install_engine();
  Network network(arguments.number("layers", 14), arguments.number("width", 192), arguments.number("batch", 64));

  // A recording of `steps` steps, as a profile has them; the time of stop() is of another kind, see "stop_us".
  const bench::Plan plan = bench::Plan{.warmup = 100, .blocks = 9, .steps = 20}.overridden(arguments);
  for (int64_t i = 0; i < plan.warmup; ++i) network.step();
  const auto run = [&] {
    const double begin = thread_seconds();
    for (int64_t i = 0; i < plan.steps; ++i) network.step();
    return thread_seconds() - begin;
  };
  struct Traced {
    std::unique_ptr<telemetry::OperatorTracer> tracer;
    std::vector<double> event_us, stop_us;
    int64_t events = 0;
  };
  Traced callbacks{telemetry::make_callback_tracer(settings), {}, {}, 0};
  Traced kineto{telemetry::make_kineto_tracer(settings, at::kCPU), {}, {}, 0};
  std::vector<double> untraced_ms;
  for (int64_t block = 0; block < plan.blocks + 1; ++block)
    for (Traced* const one : {&callbacks, &kineto}) {
      const double before = run();
      one->tracer->start();
      const double traced = run();
      const double begin = thread_seconds();
      const telemetry::OperatorTrace trace = one->tracer->stop();
      const double stop = thread_seconds() - begin;
      const double untraced = (before + run()) / 2;
      if (block == 0) continue;
      one->events = static_cast<int64_t>(trace.events.size());
      one->event_us.push_back(1e6 * (traced - untraced) / static_cast<double>(one->events));
      one->stop_us.push_back(1e6 * stop / static_cast<double>(one->events));
      untraced_ms.push_back(1e3 * untraced / static_cast<double>(plan.steps));
    }
  bench::report("operator_trace", {{"shapes", shapes},
                                   {"events_a_step", callbacks.events / plan.steps},
                                   {"kineto_events_a_step", kineto.events / plan.steps},
                                   {"step_ms", bench::summary(untraced_ms)},
                                   {"callbacks_us", bench::summary(callbacks.event_us)},
                                   {"callbacks_stop_us", bench::summary(callbacks.stop_us)},
                                   {"kineto_us", bench::summary(kineto.event_us)},
                                   {"kineto_stop_us", bench::summary(kineto.stop_us)}});
}
