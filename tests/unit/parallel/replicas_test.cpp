#include <trireme/comm/local.h>
#include <trireme/core/error.h>
#include <trireme/parallel/replicas.h>

#include "support/spawn_ranks.h"

#include <atomic>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

using testing::HasSubstr;

core::ParameterSet parameters() {
  return {{"w", at::arange(35, at::kFloat).reshape({5, 7}).requires_grad_()},
          {"half", at::arange(3).to(at::kBFloat16).requires_grad_()},
          {"empty", at::zeros({0}).requires_grad_()}};
}

core::ParameterSet buffers() {
  return {{"count", at::full({}, 7, at::kLong)},
          {"mask", at::ones({5}, at::kBool)},
          {"turned", at::arange(6, at::kFloat).reshape({2, 3}).t()}};
}

TEST(Replicas, EqualOnesSendNothing) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& communicator) {
    EXPECT_EQ(broadcast_parameters(*communicator, parameters(), buffers()), 0);
  });
}

TEST(Replicas, AWorldOfOneIsItsOwnReplica) {
  EXPECT_EQ(broadcast_parameters(*comm::make_local_communicator(), parameters(), buffers()), 0);
  EXPECT_EQ(broadcast_parameters(*comm::make_local_communicator(), {}, {}), 0);
}

TEST(Replicas, TheOthersTakeWhatRankZeroHas) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& communicator) {
    const core::ParameterSet p = parameters(), b = buffers();
    {
      const at::NoGradGuard no_grad;
      if (communicator->rank() == 1) {
        p[0].tensor[4][6] = -0.0F;
        p[1].tensor.fill_(9);
        b[0].tensor.fill_(8);
      }
      if (communicator->rank() == 2) {
        b[1].tensor[4] = false;
        b[2].tensor[2][1] = -1;
      }
    }
    const void* const address = p[0].tensor.data_ptr();
    EXPECT_EQ(broadcast_parameters(*communicator, p, b), 5);
    const core::ParameterSet want_p = parameters(), want_b = buffers();
    for (size_t i = 0; i < p.size(); ++i)
      EXPECT_TRUE(p[i].tensor.equal(want_p[i].tensor)) << p[i].name;
    for (size_t i = 0; i < b.size(); ++i)
      EXPECT_TRUE(b[i].tensor.equal(want_b[i].tensor)) << b[i].name;
    EXPECT_EQ(p[0].tensor.data_ptr(), address);
    EXPECT_TRUE(p[0].tensor.requires_grad());
  });
}

void expect_refused(const std::function<void(core::ParameterSet&)>& change, const char* text) {
  std::atomic<int> refused = 0;
  test::spawn_ranks(3, [&](const comm::CommunicatorPtr& communicator) {
    core::ParameterSet p = parameters();
    if (communicator->rank() == 2) change(p);
    try {
      broadcast_parameters(*communicator, p, buffers());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::ranks_differ);
      EXPECT_THAT(error.message(), HasSubstr("rank 2 holds another model than rank 0"));
      if (communicator->rank() != 2) {
        EXPECT_THAT(error.message(), HasSubstr(text));
      }
      ++refused;
    }
  });
  EXPECT_EQ(refused, 3);
}

TEST(Replicas, OtherModelsAreRefusedOnAllRanks) {
  expect_refused([](auto& p) { p[0].tensor = at::zeros({7, 5}); }, "w Float [5, 7]");
  expect_refused([](auto& p) { p[1].name = "other"; }, "half BFloat16 [3]");
  expect_refused([](auto& p) { p[1].tensor = p[1].tensor.detach().to(at::kHalf); },
                 "half BFloat16");
  expect_refused([](auto& p) { p.pop_back(); }, "empty Float [0]");
  expect_refused([](auto& p) { p.push_back({"more", at::zeros({1})}); }, "count Long []");
}

/// What require_equal_replicas() says on `ranks` ranks after `spoil(rank, tensors)`; equal on all of
/// them. Empty: nothing.
template <class Spoil>
std::string complaint(int ranks, const Spoil& spoil) {
  std::vector<std::string> said(static_cast<size_t>(ranks));
  test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& communicator) {
    const core::ParameterSet tensors = parameters();
    {
      const at::NoGradGuard no_grad;
      spoil(communicator->rank(), tensors);
    }
    try {
      require_equal_replicas(*communicator, tensors, 12, 6);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corruption);
      said[static_cast<size_t>(communicator->rank())] = error.message();
    }
  });
  for (const std::string& one : said) EXPECT_EQ(one, said.front());
  return said.front();
}

TEST(Replicas, ThatAreEqualPassTheCheck) {
  EXPECT_EQ(complaint(1, [](int, const core::ParameterSet&) {}), "");
  EXPECT_EQ(complaint(3, [](int, const core::ParameterSet&) {}), "");
}

TEST(Replicas, OneThatDiffersInABitIsNamed) {
  EXPECT_EQ(complaint(4,
                      [](int rank, const core::ParameterSet& tensors) {
                        if (rank == 2) tensors[1].tensor[0] = -0.0F;
                      }),
            "after step 12 the ranks no longer hold the same half: rank 2 differs from the other 3");
}

TEST(Replicas, TheMinorityIsNamedEvenIfItIsRankZero) {
  EXPECT_EQ(complaint(5,
                      [](int rank, const core::ParameterSet& tensors) {
                        if (rank == 0) tensors[0].tensor[1][1] = 50;
                        if (rank == 3) tensors[0].tensor[1][1] = 51;
                        if (rank == 3) tensors[1].tensor.fill_(4);
                      }),
            "after step 12 the ranks no longer hold the same w: ranks 0, 3 differ from the other 3 "
            "(2 tensors differ)");
}

TEST(Replicas, WithoutAMajorityBothSidesAreNamed) {
  EXPECT_EQ(complaint(2,
                      [](int rank, const core::ParameterSet& tensors) {
                        if (rank == 1) tensors[0].tensor[0][0] = 1;
                      }),
            "after step 12 the ranks no longer hold the same w: rank 0 against rank 1, without a "
            "majority");
}

}  // namespace
}  // namespace trireme::parallel
