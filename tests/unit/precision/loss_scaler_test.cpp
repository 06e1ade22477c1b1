#include <trireme/core/error.h>
#include <trireme/precision/loss_scaler.h>

#include "support/memory_state.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::precision {
namespace {

Precision scaled(LossScale kind, double scale, int64_t interval = 3) {
  Precision precision;
  precision.loss_scale = kind;
  precision.initial_scale = scale;
  precision.growth_interval = interval;
  return precision;
}

const at::Tensor good = at::zeros({}, at::kFloat), bad = at::ones({}, at::kFloat);

TEST(LossScaler, HalvesOnOverflowAndDoublesAfterTheInterval) {
  LossScaler scaler(scaled(LossScale::dynamic, 1024.0), at::kCPU);
  struct Step {
    bool overflow;
    float scale_after;
  };
  for (const auto& [overflow, after] : std::vector<Step>{{false, 1024},
                                                         {false, 1024},
                                                         {false, 2048},
                                                         {false, 2048},
                                                         {true, 1024},
                                                         {false, 1024},
                                                         {false, 1024},
                                                         {false, 2048},
                                                         {true, 1024},
                                                         {true, 512}}) {
    scaler.update(overflow ? bad : good);
    EXPECT_EQ(scaler.scale().item<float>(), after);
    EXPECT_EQ(scaler.inverse().item<float>(), 1.0F / after);
  }
}

TEST(LossScaler, KeepsItsTensorForGraphs) {
  LossScaler scaler(scaled(LossScale::dynamic, 1024.0), at::kCPU);
  const void* address = scaler.scale().data_ptr();
  scaler.update(bad);
  EXPECT_EQ(scaler.scale().data_ptr(), address);
}

TEST(LossScaler, FixedAndOffStay) {
  LossScaler fixed(scaled(LossScale::fixed, 128.0, 1), at::kCPU), off(Precision{}, at::kCPU);
  for (const at::Tensor& flag : {good, bad, good}) {
    fixed.update(flag);
    off.update(flag);
  }
  EXPECT_EQ(fixed.scale().item<float>(), 128.0F);
  EXPECT_EQ(off.scale().item<float>(), 1.0F);
}

TEST(LossScaler, GoesOnFromSavedState) {
  LossScaler straight(scaled(LossScale::dynamic, 1024.0), at::kCPU);
  straight.update(bad);
  straight.update(good);
  straight.update(good);
  test::MemoryState state;
  straight.save_state(state);
  EXPECT_EQ(state.real("precision/scale"), 512.0);
  EXPECT_EQ(state.integer("precision/growth_tracker"), 2);
  LossScaler resumed(scaled(LossScale::dynamic, 65536.0), at::kCPU);
  resumed.load_state(state);
  resumed.update(good);
  EXPECT_EQ(resumed.scale().item<float>(), 1024.0F);
}

TEST(LossScaler, AFixedScaleIsTheConfigurations) {
  test::MemoryState state;
  LossScaler(scaled(LossScale::dynamic, 1024.0), at::kCPU).save_state(state);
  LossScaler fixed(scaled(LossScale::fixed, 128.0), at::kCPU);
  fixed.load_state(state);
  EXPECT_EQ(fixed.scale().item<float>(), 128.0F);
}

TEST(LossScaler, MissingStateIsRefused) {
  LossScaler scaler(scaled(LossScale::dynamic, 1024.0), at::kCPU);
  try {
    scaler.load_state(test::MemoryState{});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_checkpoint);
  }
}

}  // namespace
}  // namespace trireme::precision
