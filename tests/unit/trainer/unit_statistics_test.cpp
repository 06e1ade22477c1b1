#include "trainer/unit_statistics.h"

#include <trireme/comm/local.h>
#include <trireme/telemetry/memory.h>

#include "trainer/run_config.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::trainer {
namespace {

/// Its forward leaves as many bytes for backward as its input has.
class Square final : public autograd::Block {
 public:
  explicit Square(const autograd::BuildContext& context)
      : Block(context), weight_(parameter_constant("weight", {1}, 2.0)) {}
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
    return {(inputs[0] * weight_).square()};
  }

 private:
  at::Tensor weight_;
};

class OneUnit final : public model::Model {
 public:
  OneUnit()
      : unit_("square", [](const autograd::BuildContext& context) {
          return std::make_unique<Square>(context);
        }) {
    unit_.build({});
  }
  model::LossSums loss(const core::Batch&) override { return {}; }
  std::vector<autograd::Unit*> units() override { return {&unit_}; }
  double nominal_weight_per_sample() const override { return 1; }
  autograd::Unit& unit() { return unit_; }

 private:
  autograd::Unit unit_;
};

class Steps {
 public:
  void make(int64_t elements, bool spans) {
    recorder_.begin_step(step_++);
    statistics_.begin_step(1, spans);
    model_.unit()(at::ones({elements}).requires_grad_()).sum().backward();
    statistics_.end_step();
    recorder_.end_step();
  }
  size_t spans() {
    size_t count = 0;
    for (const telemetry::SpanRecord& span : recorder_.spans().drain())
      count += span.name == model_.unit().name() ? 1 : 0;
    return count;
  }
  report::UnitRow row() { return statistics_.rows(forecast_).front(); }

 private:
  std::unique_ptr<comm::World> world_ = comm::make_local_world();
  RunConfig config_;
  StateForecast forecast_{config_, *world_};
  telemetry::Recorder recorder_;
  OneUnit model_;
  UnitStatistics statistics_{model_, at::kCPU, recorder_};
  int64_t step_ = 0;
};

TEST(UnitStatistics, MeasureOneStepOfSixteenAndWhatSpansAreLeftForIsNoneOfThem) {
  telemetry::install_counting_allocator();
  constexpr int64_t few = 1000, many = 1'000'000;
  Steps plain, profiled;
  for (int step = 0; step < 20; ++step) {  // of which steps 2 and 18 are measured
    const bool measured = step == 2 || step == 18;
    plain.make(measured ? few : many, false);
    profiled.make(measured ? few : many, true);
  }
  EXPECT_EQ(plain.spans(), 0U);
  EXPECT_EQ(profiled.spans(), 2U * 20) << "forward and backward of each step";
  EXPECT_GT(plain.row().activations_bytes, 0);
  EXPECT_LT(plain.row().activations_bytes, many);
  EXPECT_NEAR(static_cast<double>(profiled.row().activations_bytes), static_cast<double>(plain.row().activations_bytes), 100)
      << "but for a number or two of autograd's";
  EXPECT_GT(profiled.row().forward_seconds, 0);
  EXPECT_GT(profiled.row().backward_seconds, 0);
}

TEST(UnitStatistics, OfStepsThatWereAttendedForSpansAloneNothingIsKnown) {
  Steps steps;
  for (int step = 0; step < 2; ++step) steps.make(1000, true);
  EXPECT_EQ(steps.spans(), 4U);
  EXPECT_EQ(steps.row().activations_bytes, 0);
  EXPECT_EQ(steps.row().forward_seconds, 0);
  EXPECT_EQ(steps.row().backward_seconds, 0);
}

}  // namespace
}  // namespace trireme::trainer
