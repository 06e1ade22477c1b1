#include <trireme/autograd/backward.h>
#include <trireme/comm/local.h>
#include <trireme/core/error.h>
#include <trireme/parallel/gradient_reducer.h>

#include "support/spawn_ranks.h"
#include "unit/parallel/recording_communicator.h"

#include <mutex>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr BucketSizes one_each{1, 1, 1};
constexpr BucketSizes one_bucket{1 << 20, 1 << 20, 1 << 20};

// Values without the default generator, which all ranks of the process would share.
at::Tensor ramp(at::IntArrayRef shape, double phase) {
  int64_t n = 1;
  for (const int64_t s : shape) n *= s;
  return at::sin(at::arange(n, at::kFloat) * 0.7 + phase).reshape(shape);
}

// Three layers, in the order of their first use.
core::ParameterSet network(at::ScalarType type = at::kFloat) {
  core::ParameterSet set = {{"a", ramp({6, 5}, 1)}, {"b", ramp({5}, 2)}, {"c", ramp({5, 4}, 3)}};
  for (core::Parameter& p : set) p.tensor = p.tensor.to(type).requires_grad_();
  return set;
}

at::Tensor loss_of(const core::ParameterSet& p, const at::Tensor& x) {
  const at::Tensor h = at::tanh(at::mm(x.to(p[0].tensor.scalar_type()), p[0].tensor) + p[1].tensor);
  return at::mm(h, p[2].tensor).to(at::kFloat).square().sum();
}

at::Tensor input(int rank, int micro) {
  return ramp({3, 6}, 10.0 * rank + micro);
}

std::vector<at::Tensor> gradients(const core::ParameterSet& set) {
  std::vector<at::Tensor> all;
  for (const core::Parameter& p : set) all.push_back(p.tensor.grad().clone());
  return all;
}

// The sums over ranks and micro-steps, by one process without any of our machinery.
std::vector<at::Tensor> reference(int ranks, int micro_steps) {
  const core::ParameterSet set = network();
  for (int r = 0; r < ranks; ++r)
    for (int m = 0; m < micro_steps; ++m) loss_of(set, input(r, m)).backward();
  return gradients(set);
}

void expect_close(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& want,
                  double rtol = 1e-5) {
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_TRUE(at::allclose(got[i], want[i], rtol, rtol)) << i << "\n" << got[i] << want[i];
}

struct Layout {
  int ranks;
  int micro_steps;
  BucketSizes sizes;
};

class Layouts : public testing::TestWithParam<Layout> {};

TEST_P(Layouts, SumsOverRanksAndMicroSteps) {
  const auto [ranks, micro_steps, sizes] = GetParam();
  const std::vector<at::Tensor> want = reference(ranks, micro_steps);
  test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& communicator) {
    const core::ParameterSet set = network();
    GradientReducer reducer(communicator, set, sizes);
    for (int step = 0; step < 3; ++step) {
      for (int m = 0; m < micro_steps; ++m) {
        reducer.begin_backward(m + 1 == micro_steps);
        autograd::backward(loss_of(set, input(communicator->rank(), m)));
      }
      const ReduceReport report = reducer.finish();
      EXPECT_THAT(report.unused, IsEmpty());
      EXPECT_THAT(report.unused_here, IsEmpty());
      EXPECT_EQ(report.buckets_in_backward, static_cast<int64_t>(reducer.plan().buckets.size()));
      const int64_t agreement_bytes = ranks > 1 ? 3 * 4 : 0;  // which parameters were used
      EXPECT_EQ(report.bytes, reducer.plan().elements * 4 + agreement_bytes);
      expect_close(gradients(set), want);
      reducer.flat()[0].zero_();
    }
  });
}

INSTANTIATE_TEST_SUITE_P(RanksAndBuckets, Layouts,
                         testing::Values(Layout{1, 1, one_each}, Layout{1, 3, one_bucket},
                                         Layout{2, 1, one_each}, Layout{2, 2, one_bucket},
                                         Layout{3, 1, one_bucket}, Layout{3, 3, one_each},
                                         Layout{4, 2, one_each}));

TEST(GradientReducer, AWorldOfOneTakesTheSamePath) {
  const core::ParameterSet set = network();
  GradientReducer reducer(comm::make_local_communicator(), set, one_each, at::kBFloat16);
  reducer.begin_backward(true);
  autograd::backward(loss_of(set, input(0, 0)));
  EXPECT_EQ(reducer.finish().buckets_in_backward, 3);
  expect_close(gradients(set), reference(1, 1));
}

TEST(GradientReducer, GradientsAreOneFlatBufferWithZeroPadding) {
  const core::ParameterSet set = network();
  GradientReducer reducer(comm::make_local_communicator(), set, one_bucket);
  reducer.begin_backward(true);
  autograd::backward(loss_of(set, input(0, 0)));
  (void)reducer.finish();
  ASSERT_EQ(reducer.flat().size(), 1U);
  const at::Tensor& flat = reducer.flat()[0];
  EXPECT_EQ(flat.numel(), 32 + 16 + 32);
  double of_parameters = 0;
  for (const at::Tensor& g : gradients(set)) of_parameters += g.square().sum().item<double>();
  EXPECT_NEAR(flat.square().sum().item<double>(), of_parameters, 1e-4 * of_parameters);
  EXPECT_TRUE(set[2].tensor.grad().is_alias_of(flat));
  flat.zero_();
  EXPECT_EQ(set[2].tensor.grad().count_nonzero().item<int64_t>(), 0);
}

// Where in the flat buffer each all-reduce begins, in the order of launch.
struct Launches {
  std::vector<int64_t> offsets;
  const GradientReducer* reducer = nullptr;
  void operator()(const at::Tensor& values) {
    const at::Tensor& flat = reducer->flat()[0];
    if (values.is_alias_of(flat)) offsets.push_back(values.storage_offset());
  }
};

TEST(GradientReducer, LaunchesWhileBackwardRuns) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& communicator) {
    Launches launches;
    const core::ParameterSet set = network();
    GradientReducer reducer(
        std::make_shared<RecordingCommunicator>(communicator, std::ref(launches)), set, one_each);
    launches.reducer = &reducer;
    std::vector<size_t> launched_before;  // when the gradient of each parameter became ready
    std::vector<autograd::GradientHook> hooks;
    for (const core::Parameter& p : set)
      hooks.push_back(autograd::on_gradient_accumulated(p.tensor, [&](const at::Tensor&) {
        launched_before.push_back(launches.offsets.size());
      }));
    reducer.begin_backward(true);
    autograd::backward(loss_of(set, input(communicator->rank(), 0)));
    // Each hook runs after the reducer's own: every gradient set off its bucket at once.
    EXPECT_THAT(launched_before, ElementsAre(1, 2, 3));
    EXPECT_EQ(reducer.finish().buckets_in_backward, 3);
  });
}

TEST(GradientReducer, NothingIsLaunchedBeforeTheLastMicroStep) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& communicator) {
    Launches launches;
    const core::ParameterSet set = network();
    GradientReducer reducer(
        std::make_shared<RecordingCommunicator>(communicator, std::ref(launches)), set, one_each);
    launches.reducer = &reducer;
    for (int m = 0; m < 2; ++m) {
      reducer.begin_backward(false);
      autograd::backward(loss_of(set, input(communicator->rank(), m)));
    }
    EXPECT_THAT(launches.offsets, IsEmpty());
    reducer.begin_backward(true);
    autograd::backward(loss_of(set, input(communicator->rank(), 2)));
    EXPECT_EQ(launches.offsets.size(), 3U);
    (void)reducer.finish();
    expect_close(gradients(set), reference(2, 3));
  });
}

TEST(GradientReducer, LaunchesInOneOrderWhateverBecomesReadyFirst) {
  std::mutex mutex;
  std::vector<std::vector<int64_t>> orders(3);
  std::vector<std::vector<std::string>> readiness(3);
  test::spawn_ranks(3, [&](const comm::CommunicatorPtr& communicator) {
    const int rank = communicator->rank();
    const auto mine = static_cast<size_t>(rank);
    Launches launches;
    core::ParameterSet set;
    for (int i = 0; i < 4; ++i)
      set.push_back({std::string(1, static_cast<char>('a' + i)), ramp({20}, i).requires_grad_()});
    GradientReducer reducer(
        std::make_shared<RecordingCommunicator>(communicator, std::ref(launches)), set, one_each);
    launches.reducer = &reducer;
    std::vector<autograd::GradientHook> hooks;
    for (const core::Parameter& p : set)
      hooks.push_back(autograd::on_gradient_accumulated(
          p.tensor, [&, name = p.name](const at::Tensor&) { readiness[mine].push_back(name); }));
    // The engine runs what was recorded last first.
    std::vector<size_t> recorded = {0, 1, 2, 3};
    if (rank == 1) recorded = {3, 2, 1, 0};
    if (rank == 2) recorded = {1, 3, 0, 2};
    at::Tensor loss = at::zeros({});
    for (const size_t i : recorded)
      loss = loss + (set[i].tensor * static_cast<double>(rank + 1)).sum();
    reducer.begin_backward(true);
    autograd::backward(loss);
    (void)reducer.finish();
    for (const core::Parameter& p : set)
      EXPECT_TRUE(p.tensor.grad().eq(6.0).all().item<bool>()) << p.name;
    const std::lock_guard lock(mutex);
    orders[mine] = launches.offsets;
  });
  EXPECT_NE(readiness[0], readiness[1]);
  EXPECT_NE(readiness[0], readiness[2]);
  for (const auto& order : orders) EXPECT_THAT(order, ElementsAre(0, 32, 64, 96));
}

TEST(GradientReducer, NamesParametersThatNoRankUsed) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& communicator) {
    core::ParameterSet set = network();
    set.insert(set.begin() + 1, {"idle", at::ones({7}).requires_grad_()});
    set.push_back({"only_0", at::ones({2}).requires_grad_()});
    const core::ParameterSet used = {set[0], set[2], set[3]};
    GradientReducer reducer(communicator, set, one_each);
    for (int step = 0; step < 2; ++step) {
      at::Tensor loss = loss_of(used, input(communicator->rank(), 0));
      if (communicator->rank() == 0) loss = loss + set[4].tensor.sum();
      reducer.begin_backward(true);
      autograd::backward(loss);
      const ReduceReport report = reducer.finish();
      EXPECT_THAT(report.unused, ElementsAre("idle"));
      if (communicator->rank() == 0)
        EXPECT_THAT(report.unused_here, ElementsAre("idle"));
      else
        EXPECT_THAT(report.unused_here, ElementsAre("idle", "only_0"));
      expect_close(gradients(used), reference(2, 1));
      EXPECT_TRUE(set[4].tensor.grad().eq(1.0).all().item<bool>());
      EXPECT_TRUE(set[1].tensor.grad().eq(0.0).all().item<bool>());
      reducer.flat()[0].zero_();
    }
  });
}

TEST(GradientReducer, AGradientOfAnEarlierMicroStepCounts) {
  const core::ParameterSet set = {{"early", at::ones({3}).requires_grad_()},
                                  {"late", at::ones({3}).requires_grad_()}};
  GradientReducer reducer(comm::make_local_communicator(), set, one_each);
  reducer.begin_backward(false);
  autograd::backward(set[0].tensor.sum());
  reducer.begin_backward(true);
  autograd::backward((set[1].tensor * 2.0).sum());
  const ReduceReport report = reducer.finish();
  EXPECT_THAT(report.unused, IsEmpty());
  EXPECT_EQ(report.buckets_in_backward, 1);
  EXPECT_TRUE(set[0].tensor.grad().eq(1.0).all().item<bool>());
  EXPECT_TRUE(set[1].tensor.grad().eq(2.0).all().item<bool>());
}

TEST(GradientReducer, RanksWithoutABatchTakePart) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& communicator) {
    const core::ParameterSet set = network();
    GradientReducer reducer(communicator, set, one_each);
    // Rank 2 has no samples at all, rank 1 none in the last micro-step.
    for (int m = 0; m < 2; ++m) {
      reducer.begin_backward(m == 1);
      if (communicator->rank() + m < 2)
        autograd::backward(loss_of(set, input(communicator->rank(), m)));
    }
    const ReduceReport report = reducer.finish();
    EXPECT_THAT(report.unused, IsEmpty());
    EXPECT_EQ(report.unused_here.size(), communicator->rank() == 2 ? 3U : 0U);
    const core::ParameterSet alone = network();
    loss_of(alone, input(0, 0)).backward();
    loss_of(alone, input(0, 1)).backward();
    loss_of(alone, input(1, 0)).backward();
    expect_close(gradients(set), gradients(alone));
  });
}

TEST(GradientReducer, LowPrecisionParametersAccumulateInFloat32) {
  const auto low_gradient = [](int rank, int micro) {
    const core::ParameterSet alone = network(at::kBFloat16);
    loss_of(alone, input(rank, micro)).backward();
    std::vector<at::Tensor> all;
    for (const at::Tensor& g : gradients(alone)) all.push_back(g.to(at::kFloat));
    return all;
  };
  std::vector<at::Tensor> want;
  for (const core::Parameter& p : network()) want.push_back(at::zeros_like(p.tensor.detach()));
  for (int r = 0; r < 2; ++r)
    for (int m = 0; m < 2; ++m) {
      const std::vector<at::Tensor> part = low_gradient(r, m);
      for (size_t i = 0; i < want.size(); ++i) want[i] += part[i];
    }
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& communicator) {
    const core::ParameterSet set = network(at::kBFloat16);
    GradientReducer reducer(communicator, set, one_bucket);
    for (int m = 0; m < 2; ++m) {
      reducer.begin_backward(m == 1);
      autograd::backward(loss_of(set, input(communicator->rank(), m)));
    }
    (void)reducer.finish();
    for (const core::Parameter& p : set) {
      EXPECT_EQ(p.tensor.scalar_type(), at::kBFloat16);
      EXPECT_EQ(p.tensor.grad().scalar_type(), at::kFloat);
    }
    expect_close(gradients(set), want, 1e-6);
  });
}

TEST(GradientReducer, MayTravelInBFloat16) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& communicator) {
    std::vector<at::ScalarType> types;
    const auto recorded = std::make_shared<RecordingCommunicator>(
        communicator, [&](const at::Tensor& values) { types.push_back(values.scalar_type()); });
    const core::ParameterSet set = network();
    GradientReducer reducer(recorded, set, one_each, at::kBFloat16);
    reducer.begin_backward(true);
    autograd::backward(loss_of(set, input(communicator->rank(), 0)));
    const ReduceReport report = reducer.finish();
    EXPECT_THAT(types, ElementsAre(at::kBFloat16, at::kBFloat16, at::kBFloat16, at::kFloat));
    EXPECT_EQ(report.bytes, reducer.plan().elements * 2 + 3 * 4);
    expect_close(gradients(set), reference(2, 1), 2e-2);
    EXPECT_EQ(set[0].tensor.grad().scalar_type(), at::kFloat);
  });
}

TEST(GradientReducer, GradientsHaveTheLayoutOfTheirParameters) {
  const auto last = at::MemoryFormat::ChannelsLast;
  const core::ParameterSet set = {{"w", ramp({4, 3, 2, 2}, 0).contiguous(last).requires_grad_()}};
  GradientReducer reducer(comm::make_local_communicator(), set, one_bucket);
  EXPECT_EQ(set[0].tensor.grad().strides(), set[0].tensor.strides());
  reducer.begin_backward(true);
  autograd::backward((set[0].tensor * ramp({4, 3, 2, 2}, 1)).sum());
  (void)reducer.finish();
  EXPECT_TRUE(set[0].tensor.grad().equal(ramp({4, 3, 2, 2}, 1)));
}

template <class F>
Error caught(const F& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::unexpected, "nothing was thrown"};
}

TEST(GradientReducer, NoticesAReplacedGradient) {
  core::ParameterSet set = network();
  GradientReducer reducer(comm::make_local_communicator(), set, one_bucket);
  set[1].tensor.mutable_grad() = at::zeros({5});
  const Error assigned = caught([&] { reducer.begin_backward(true); });
  EXPECT_EQ(assigned.kind(), ErrorKind::plugin_failed);
  EXPECT_THAT(assigned.message(), HasSubstr("parameter 'b'"));
  set[1].tensor.mutable_grad() = at::Tensor();
  EXPECT_THAT(caught([&] { reducer.begin_backward(true); }).message(), HasSubstr("parameter 'b'"));
}

TEST(GradientReducer, NoticesCreateGraphInsideBackward) {
  const core::ParameterSet set = {{"w", at::ones({3}).requires_grad_()}};
  GradientReducer reducer(comm::make_local_communicator(), set, one_bucket);
  reducer.begin_backward(true);
  const Error error = caught([&] {
    torch::autograd::backward({set[0].tensor.square().sum()}, {}, true, /*create_graph=*/true);
  });
  EXPECT_EQ(error.kind(), ErrorKind::plugin_failed);
  EXPECT_THAT(error.message(), HasSubstr("parameter 'w'"));
  // Such a gradient holds its graph, the graph the parameter, and that the gradient.
  set[0].tensor.mutable_grad() = at::Tensor();
}

TEST(GradientReducer, RefusesASecondBackwardOfTheLastMicroStep) {
  const core::ParameterSet set = network();
  GradientReducer reducer(comm::make_local_communicator(), set, one_bucket);
  reducer.begin_backward(true);
  autograd::backward(loss_of(set, input(0, 0)));
  const Error error = caught([&] { autograd::backward(loss_of(set, input(0, 0))); });
  EXPECT_EQ(error.kind(), ErrorKind::plugin_failed);
  EXPECT_THAT(error.message(), HasSubstr("second gradient"));
}

TEST(GradientReducer, CallsOutOfOrderAreBugs) {
  const core::ParameterSet set = network();
  GradientReducer reducer(comm::make_local_communicator(), set, one_bucket);
  EXPECT_THROW((void)reducer.finish(), std::exception);
  EXPECT_THROW(autograd::backward(loss_of(set, input(0, 0))), std::exception);
  reducer.begin_backward(true);
  EXPECT_THROW(reducer.begin_backward(true), std::exception);
}

TEST(GradientReducer, AnAbandonedStepIsBegunAgain) {
  const std::vector<at::Tensor> want = reference(2, 1);
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& communicator) {
    const core::ParameterSet set = network();
    GradientReducer reducer(communicator, set, one_each);
    reducer.begin_backward(true);
    EXPECT_TRUE(reducer.abandon());
    reducer.begin_backward(true);
    autograd::backward(loss_of(set, input(communicator->rank(), 0)));
    EXPECT_THAT(reducer.finish().unused, IsEmpty());
    expect_close(gradients(set), want);
  });
}

TEST(GradientReducer, LeavesTheParametersAloneWhenItGoes) {
  const core::ParameterSet set = network();
  { const GradientReducer reducer(comm::make_local_communicator(), set, one_bucket); }
  autograd::backward(loss_of(set, input(0, 0)));
  expect_close(gradients(set), reference(1, 1));
}

TEST(GradientReducer, APoisonedCommunicatorEndsTheStepWithItsError) {
  EXPECT_EQ(caught([] {
              test::spawn_ranks(2, [](const comm::CommunicatorPtr& communicator) {
                if (communicator->rank() == 1) throw Error(ErrorKind::data_damaged, "rank 1 left");
                const core::ParameterSet set = network();
                GradientReducer reducer(communicator, set, one_each);
                reducer.begin_backward(true);
                autograd::backward(loss_of(set, input(0, 0)));
                (void)reducer.finish();
              });
            }).message(),
            "rank 1 left");
}

}  // namespace
}  // namespace trireme::parallel
