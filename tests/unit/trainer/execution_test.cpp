#include "trainer/execution.h"

#include <trireme/core/error.h>

#include <gmock/gmock.h>

namespace trireme::trainer {
namespace {

using Graph = Execution::Graph;

RunConfig config_of(const std::string& level, std::optional<std::string> graph = {}, std::optional<std::string> compile = {}) {
  RunConfig config;
  config.device.optimization_level = level;
  config.train.graph = std::move(graph);
  config.train.compile = std::move(compile);
  return config;
}

Execution on_gpu(const RunConfig& config, bool repeatable = true) { return plan_execution(config, c10::kCUDA, repeatable); }

TEST(Execution, LevelsAreShortForTheSwitches) {
  EXPECT_EQ(on_gpu(config_of("none")), Execution{});
  EXPECT_EQ(on_gpu(config_of("basic")), (Execution{.graph = Graph::automatic}));
  EXPECT_EQ(on_gpu(config_of("advanced")), (Execution{.graph = Graph::automatic, .autotune = true}));
  EXPECT_EQ(on_gpu(config_of("maximum")), (Execution{.graph = Graph::automatic, .autotune = true}));
}

TEST(Execution, SwitchesThatWereSetWinOverTheLevel) {
  EXPECT_EQ(on_gpu(config_of("none", "auto")).graph, Graph::automatic);
  EXPECT_EQ(on_gpu(config_of("basic", "off")).graph, Graph::off);
  EXPECT_EQ(on_gpu(config_of("basic", {}, "off")).graph, Graph::off);
  EXPECT_EQ(on_gpu(config_of("none", {}, "reduce-overhead")).graph, Graph::required);
  EXPECT_TRUE(on_gpu(config_of("none", "off", "max-autotune")).autotune);
  EXPECT_EQ(on_gpu(config_of("none", "off", "max-autotune")).graph, Graph::off);
  EXPECT_EQ(on_gpu(config_of("maximum", {}, "default")), (Execution{.graph = Graph::automatic}));
}

TEST(Execution, WhyAStepIsNotRepeatedIsSaidAndAnErrorWhereItMustBe) {
  const auto refusal = [](const RunConfig& config, c10::DeviceType device, bool repeatable) -> std::string {
    try {
      (void)plan_execution(config, device, repeatable);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::configuration);
      return error.message();
    }
    return {};
  };
  const Execution by_plugin = on_gpu(config_of("basic"), /*repeatable=*/false);
  EXPECT_EQ(by_plugin.graph, Graph::off);
  EXPECT_THAT(by_plugin.why_eager, testing::HasSubstr("repeatable"));
  EXPECT_THAT(refusal(config_of("basic", "on"), c10::kCUDA, false), testing::HasSubstr("train.graph: on"));

  RunConfig sharded = config_of("basic");
  sharded.parallel.strategy = "fsdp";
  EXPECT_THAT(on_gpu(sharded).why_eager, testing::HasSubstr("fsdp"));
  sharded.train.compile = "reduce-overhead";
  EXPECT_THAT(refusal(sharded, c10::kCUDA, true), testing::AllOf(testing::HasSubstr("reduce-overhead"), testing::HasSubstr("fsdp")));

  RunConfig recomputing = config_of("basic");
  recomputing.parallel.recompute = "unit";
  EXPECT_THAT(on_gpu(recomputing).why_eager, testing::HasSubstr("parallel.recompute"));
  recomputing.parallel.recompute = int64_t{2};
  EXPECT_EQ(on_gpu(recomputing).graph, Graph::off);

  EXPECT_EQ(plan_execution(config_of("basic"), c10::kCPU, true).graph, Graph::off);
  EXPECT_THAT(refusal(config_of("basic", "on"), c10::kCPU, true), testing::HasSubstr("CPU"));
  EXPECT_THAT(refusal(config_of("basic", "on", "off"), c10::kCUDA, true), testing::HasSubstr("contradicts"));
  EXPECT_THAT(refusal(config_of("basic", "off", "reduce-overhead"), c10::kCUDA, true), testing::HasSubstr("contradicts"));
}

}  // namespace
}  // namespace trireme::trainer
