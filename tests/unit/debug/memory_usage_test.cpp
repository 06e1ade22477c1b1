#include <trireme/telemetry/memory.h>

#include "unit/debug/training.h"

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class MemoryUsage : public testing::Test {
 protected:
  MemoryUsage() { telemetry::install_counting_allocator(); }
};

TEST_F(MemoryUsage, RecordsMomentsAndUnits) {
  Chain chain;
  at::Tensor kept;
  chain.then["h.1"] = [&](const at::Tensor& y) {
    kept = at::ones({1 << 20});
    const at::Tensor passing = at::ones({1 << 21});
    return y + passing[0];
  };
  Training run(chain);
  run.subject.buffers.push_back({"mean", at::ones({8})});
  run.on(Switch::memory_usage);
  run.run([&] { return chain.loss(chain_input()); });
  const json unit = run.notes.of("unit", "h.1").at(0);
  EXPECT_NEAR(unit["forward_delta"].get<double>(), 4 << 20, 1 << 16);
  EXPECT_NEAR(unit["forward_peak"].get<double>(), 12 << 20, 1 << 16);
  EXPECT_LT(run.notes.of("unit", "h.0").at(0)["forward_peak"].get<double>(), 1 << 16);
  for (const char* moment : {"begin", "forward", "backward", "update"}) {
    const std::vector<json> taken = run.notes.of("snapshot", moment);
    ASSERT_EQ(taken.size(), 1U) << moment;
    EXPECT_EQ(taken[0]["parameters"], 3 * 42 * 4);
    EXPECT_EQ(taken[0]["buffers"], 32);
    EXPECT_GT(taken[0]["rss"].get<int64_t>(), 0);
    EXPECT_GT(taken[0]["time_ns"].get<int64_t>(), 0);
  }
  EXPECT_GT(run.notes.of("snapshot", "forward")[0]["allocated"].get<int64_t>(),
            run.notes.of("snapshot", "begin")[0]["allocated"].get<int64_t>() + (3 << 20));
  const json digest = run.digest();
  EXPECT_EQ(digest["gradients"], 3 * 42 * 4);
  EXPECT_GT(digest["peak"].get<int64_t>(), 12 << 20);
  EXPECT_THAT(run.notes.findings, IsEmpty());
}

TEST_F(MemoryUsage, FindsALeak) {
  // More than glibc ever keeps in its heap, where aligned blocks of 2.36 may not fit again into the
  // room that they left (glibc bug 14581): then the process really grows. Never written to.
  constexpr int64_t bytes = 36 << 20;
  for (const bool leaks : {false, true}) {
    Training run({}, {});
    run.on(Switch::memory_usage);
    Tensors kept;
    for (int64_t step = 1; step <= 100; ++step) {
      run.tools[0]->begin_step({step, false});
      const at::Tensor one = at::empty({bytes}, at::kByte);
      if (leaks) kept.push_back(one);
      run.tools[0]->end_step();
    }
    if (!leaks) {
      EXPECT_THAT(run.notes.findings, IsEmpty());
      continue;
    }
    EXPECT_THAT(run.notes.findings,
                Contains(HasSubstr("the host memory of tensors grows by 3686")));
    const json leak = run.notes.of("leak", "host memory of tensors").at(0);
    EXPECT_NEAR(leak["bytes_per_step"].get<double>(), bytes, 1 << 13);
    EXPECT_NEAR(run.digest()["allocated_per_step"].get<double>(), bytes, 1 << 13);
  }
}

}  // namespace
}  // namespace trireme::debug
