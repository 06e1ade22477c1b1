#include <trireme/autograd/backward.h>
#include <trireme/core/error.h>

#include "unit/parallel/sharded_rank.h"

#include <functional>

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Settings = ShardedParameters::Settings;

const Settings zero1{.whole_gradients = true}, zero2{}, fsdp{.free_parameters = true};

// What each rank throws. A rank that is stopped by another's error repeats that.
std::vector<Error> thrown_by(int ranks, const Settings& settings,
                             const std::function<void(Sharded&, int rank)>& work) {
  std::vector<Error> errors(static_cast<size_t>(ranks),
                            Error(ErrorKind::unexpected, "nothing was thrown"));
  test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
    all->set_deadline(std::chrono::seconds(20));
    Sharded mine(all, settings);
    try {
      work(mine, all->rank());
    } catch (const Error& error) {
      errors[static_cast<size_t>(all->rank())] = error;
    }
  });
  return errors;
}

void expect_all(const std::vector<Error>& errors, ErrorKind kind,
                const testing::Matcher<std::string>& message) {
  for (const Error& error : errors) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.message(), message);
    EXPECT_FALSE(error.hint().empty());
  }
}

void one_step(Sharded& mine, int rank) {
  (void)mine.gradients(rank, 1);
  mine.step();
}

at::Tensor embedded(Sharded& mine, int rank) {
  return mine.network.table()(tokens(rank, 0));
}

TEST(ShardedErrors, AnotherOrderOfUnitsNamesTheUnit) {
  for (const Settings& settings : {zero1, zero2, fsdp})
    expect_all(thrown_by(2, settings,
                         [](Sharded& mine, int rank) {
                           one_step(mine, rank);
                           (void)mine.network.layer(1)(at::ones({2, 5}));
                         }),
               ErrorKind::plugin_failed,
               AllOf(HasSubstr("unit 'h.1' is called in forward"), HasSubstr("called 'table'")));
}

TEST(ShardedErrors, AnotherOrderBetweenMicroStepsIsNoticed) {
  expect_all(thrown_by(2, zero2,
                       [](Sharded& mine, int rank) {
                         mine.micro_step(mine.network.loss(tokens(rank, 0)), false);
                         const at::Tensor h = mine.network.layer(0)(embedded(mine, rank));
                         (void)mine.network.layer(0)(embedded(mine, rank));
                       }),
             ErrorKind::plugin_failed,
             AllOf(HasSubstr("unit 'table' is called in forward"), HasSubstr("called 'h.1'")));
}

TEST(ShardedErrors, MoreUnitsThanBeforeAreNoticed) {
  expect_all(thrown_by(2, fsdp,
                       [](Sharded& mine, int rank) {
                         one_step(mine, rank);
                         const at::Tensor y = mine.network.loss(tokens(rank, 0));
                         (void)mine.network.layer(2)(at::ones({2, 9}));
                       }),
             ErrorKind::plugin_failed,
             AllOf(HasSubstr("unit 'h.2' is called in forward"), HasSubstr("had ended")));
}

TEST(ShardedErrors, AMissingUnitIsNamed) {
  for (const Settings& settings : {zero1, zero2, fsdp})
    expect_all(thrown_by(2, settings,
                         [](Sharded& mine, int rank) {
                           one_step(mine, rank);
                           const at::Tensor h = mine.network.layer(0)(embedded(mine, rank));
                           mine.micro_step(h.sum(), true);
                         }),
               ErrorKind::plugin_failed, HasSubstr("forward ended without unit 'h.1'"));
}

TEST(ShardedErrors, AUnitMissingInBackwardIsNamed) {
  expect_all(thrown_by(2, zero2,
                       [](Sharded& mine, int rank) {
                         one_step(mine, rank);
                         const at::Tensor h = mine.network.layer(0)(embedded(mine, rank));
                         const at::Tensor y =
                             mine.network.table()(mine.network.layer(2)(mine.network.layer(1)(h)));
                         mine.micro_step(h.sum(), true);
                       }),
             ErrorKind::plugin_failed,
             AllOf(HasSubstr("unit 'h.0' is called in backward"), HasSubstr("called 'table'")));
}

TEST(ShardedErrors, AChangeInPlaceWouldBeLost) {
  const auto change = [](Sharded& mine, int rank) {
    mine.network.visit = [](const std::string& layer, const core::ParameterSet& set) {
      if (layer != "h.1") return;
      const at::NoGradGuard no_grad;
      set[3].tensor.mul_(0.5);
    };
    one_step(mine, rank);
  };
  expect_all(thrown_by(2, fsdp, change), ErrorKind::plugin_failed,
             AllOf(HasSubstr("parameter 'h.1.bias'"), HasSubstr("changed in place")));
  // With the memory kept until after backward it shows there.
  expect_all(thrown_by(2, {.free_parameters = true, .free_after_forward = false}, change),
             ErrorKind::plugin_failed, HasSubstr("parameter 'h.1.bias'"));
}

TEST(ShardedErrors, AnAssignedGradientIsNamed) {
  for (const Settings& settings : {zero1, zero2, fsdp})
    expect_all(thrown_by(2, settings,
                         [](Sharded& mine, int rank) {
                           one_step(mine, rank);
                           const at::Tensor weight = mine.network.layer(1).parameters()[0].tensor;
                           weight.mutable_grad() = at::zeros({5, 9});
                           one_step(mine, rank);
                         }),
               ErrorKind::plugin_failed, HasSubstr("the gradient of parameter 'h.1.weight'"));
}

TEST(ShardedErrors, AGradientThatWasTakenAwayIsNamed) {
  expect_all(thrown_by(2, zero1,
                       [](Sharded& mine, int rank) {
                         mine.network.layer(1).parameters()[0].tensor.mutable_grad().reset();
                         one_step(mine, rank);
                       }),
             ErrorKind::plugin_failed, HasSubstr("the gradient of parameter 'h.1.weight'"));
}

TEST(ShardedErrors, ASecondBackwardInOneMicroStepIsRefused) {
  for (const Settings& settings : {zero1, zero2, fsdp})
    for (const int steps_before : {0, 1})
      expect_all(thrown_by(2, settings,
                           [&](Sharded& mine, int rank) {
                             for (int s = 0; s < steps_before; ++s) one_step(mine, rank);
                             const at::Tensor loss = mine.network.loss(tokens(rank, 0));
                             mine.parallel.begin_backward(true);
                             autograd::backward(loss);
                             autograd::backward(mine.network.loss(tokens(rank, 1)));
                           }),
                 ErrorKind::plugin_failed,
                 testing::AnyOf(HasSubstr("second gradient"), HasSubstr("called in backward")));
}

TEST(ShardedErrors, RanksWithDifferentOrdersAreAllTold) {
  for (const Settings& settings : {zero1, zero2, fsdp})
    expect_all(thrown_by(3, settings,
                         [](Sharded& mine, int rank) {
                           const at::Tensor x = at::ones({2, 6});
                           at::Tensor y = mine.network.layer(0)(x).sum();
                           if (rank == 2) y = y + mine.network.layer(0)(x).sum();
                           mine.micro_step(y, true);
                         }),
               ErrorKind::ranks_differ,
               HasSubstr("rank 0 is about to run backward, rank 2 to call unit"));
}

TEST(ShardedErrors, RanksThatGatherDifferentUnitsAreNotStuck) {
  const std::vector<Error> errors = thrown_by(2, fsdp, [](Sharded& mine, int rank) {
    at::Tensor y;
    if (rank == 0)
      y = mine.network.layer(1)(mine.network.layer(0)(at::ones({2, 6}))).sum();
    else
      y = mine.network.layer(0)(at::ones({2, 6})).sum() +
          mine.network.layer(2)(at::ones({2, 9})).sum();
    mine.micro_step(y, true);
  });
  expect_all(errors, ErrorKind::ranks_differ, testing::_);
}

TEST(ShardedErrors, CallsOutOfOrderAreBugs) {
  test::spawn_ranks(1, [](const comm::CommunicatorPtr& all) {
    Sharded mine(all, zero2);
    EXPECT_ANY_THROW((void)mine.parallel.finish());
    mine.micro_step(mine.network.loss(tokens(0, 0)), false);
    EXPECT_ANY_THROW((void)mine.parallel.finish());
  });
}

TEST(ShardedErrors, APoisonedCommunicatorEndsTheStepWithItsError) {
  for (const Settings& settings : {zero1, zero2, fsdp}) {
    try {
      test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
        Sharded mine(all, settings);
        one_step(mine, all->rank());
        if (all->rank() == 1) throw Error(ErrorKind::data_damaged, "rank 1 left");
        one_step(mine, all->rank());
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.message(), "rank 1 left");
    }
  }
}

}  // namespace
}  // namespace trireme::parallel
