#include "cuda/comm/placement.h"

#include <trireme/core/error.h>

#include <map>
#include <set>

#include <gmock/gmock.h>

namespace trireme::cuda {
namespace {

using testing::HasSubstr;

std::vector<Placement> four_ranks() {
  return {{"a", 10, 0, "gpu-0", "2.28.9", ""},
          {"a", 11, 1, "gpu-1", "2.28.9", ""},
          {"b", 10, 0, "gpu-2", "2.28.9", ""},
          {"b", 11, 1, "gpu-3", "2.28.9", ""}};
}

void expect_refused(const std::vector<Placement>& ranks, const char* text) {
  try {
    check_placements(ranks, /*may_share=*/false);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::environment);
    EXPECT_THAT(error.message(), HasSubstr(text));
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(Placement, TravelsAsText) {
  const Placement sent{"host one", 4711, 7, "ab12", "2.28.9", "line one\nline two"};
  const Placement got = decode_placement(encode(sent));
  EXPECT_EQ(got.host, sent.host);
  EXPECT_EQ(got.pid, sent.pid);
  EXPECT_EQ(got.device, sent.device);
  EXPECT_EQ(got.uuid, sent.uuid);
  EXPECT_EQ(got.library, sent.library);
  EXPECT_EQ(got.problem, "line one line two");
  EXPECT_EQ(decode_placement(encode({})).problem, "");
  EXPECT_EQ(decode_placement("nonsense").host, "nonsense");
}

TEST(Placement, OneGpuARankIsAccepted) {
  EXPECT_NO_THROW(check_placements(four_ranks(), false));
  EXPECT_FALSE(any_gpu_is_shared(four_ranks()));
  EXPECT_NO_THROW(check_placements({}, false));
}

TEST(Placement, TwoRanksOnOneGpuAreNamed) {
  auto ranks = four_ranks();
  ranks[3].uuid = ranks[2].uuid;
  EXPECT_TRUE(any_gpu_is_shared(ranks));
  expect_refused(ranks, "ranks 2 and 3 on b use the same GPU gpu-2 (their devices 0 and 1)");
  EXPECT_NO_THROW(check_placements(ranks, /*may_share=*/true));
}

TEST(Placement, ARankWithoutAGpuIsNamed) {
  auto ranks = four_ranks();
  ranks[1].problem = "no CUDA-capable device is detected";
  expect_refused(ranks, "rank 1 on a cannot use its GPU: no CUDA-capable device is detected");
  // Sharing heals nothing, and its missing name is no shared GPU.
  EXPECT_THROW(check_placements(ranks, /*may_share=*/true), Error);
}

TEST(Placement, AnotherLibraryIsNamed) {
  auto ranks = four_ranks();
  ranks[2].library = "2.27.3";
  expect_refused(ranks, "rank 0 on a has NCCL 2.28.9, rank 2 on b has 2.27.3");
}

TEST(SharingEnvironment, MakesEveryProcessAHostOfItsOwn) {
  std::set<std::string> hosts;
  for (const Placement& rank : four_ranks()) {
    const auto list = sharing_environment(rank);
    const std::map<std::string, std::string> variables(list.begin(), list.end());
    EXPECT_EQ(variables.size(), list.size());
    EXPECT_EQ(variables.at("NCCL_SOCKET_IFNAME"), "lo");
    hosts.insert(variables.at("NCCL_HOSTID"));
  }
  EXPECT_EQ(hosts.size(), 4U);
}

}  // namespace
}  // namespace trireme::cuda
