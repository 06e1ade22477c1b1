#include <trireme/device/cores.h>
#include <trireme/device/host.h>
#include <trireme/device/tune.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <ATen/Parallel.h>

#include <gmock/gmock.h>
#include <malloc.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <unistd.h>

namespace trireme::device {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Cores, ListsGoBothWays) {
  EXPECT_EQ(format_cores({0, 1, 2, 8, 10, 11}), "0-2,8,10-11");
  EXPECT_EQ(format_cores({}), "");
  EXPECT_THAT(parse_cores("0-2,8,10-11\n"), ElementsAre(0, 1, 2, 8, 10, 11));
  EXPECT_THAT(parse_cores("5"), ElementsAre(5));
  EXPECT_THAT(parse_cores(""), IsEmpty());
  EXPECT_THAT(parse_cores("none"), IsEmpty());
}

TEST(Cores, MaskIsTheProcessesOwn) {
  EXPECT_EQ(static_cast<int>(affinity_cores().size()), [] {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
  }());
}

TEST(Cores, FairShareCountsOnlyRanksThatShare) {
  const std::vector<int> all{0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(fair_threads(all, {all}), 8);
  EXPECT_EQ(fair_threads(all, {all, all, all}), 2);              // 8/3
  EXPECT_EQ(fair_threads({0, 1}, {{0, 1}, {2, 3}, {4, 5}}), 2);  // bound: nobody else's cores
  EXPECT_EQ(fair_threads({0}, {{0}, {0}, {0}}), 1);              // never 0
  EXPECT_EQ(fair_threads({0, 1, 2}, {{0, 1, 2}, {0, 1, 2}, {0, 1, 2}}), 1);
  EXPECT_EQ(fair_threads({0, 1, 2}, {{0, 1, 2}, {2, 3}}), 2);  // 1 + 1 + 1/2
}

TEST(Threads, TheEnvironmentWinsOverTheShare) {
  EXPECT_EQ(choose_threads(4, nullptr), 4);
  EXPECT_EQ(choose_threads(0, nullptr), 1);
  EXPECT_EQ(choose_threads(4, "2"), 2);
  EXPECT_EQ(choose_threads(4, "3,2"), 3);
  EXPECT_EQ(choose_threads(4, ""), 4);
  EXPECT_EQ(choose_threads(4, "many"), 4);
  EXPECT_GE(threads_of_shared_mask(1000), 1);
}

TEST(Threads, TuningSetsThePoolOfTheCallingThread) {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string kept = before == nullptr ? "" : before;
  setenv("OMP_NUM_THREADS", "1", 1);
  EXPECT_EQ(tune_process(3).threads, 1);
  EXPECT_EQ(at::get_num_threads(), 1);
  unsetenv("OMP_NUM_THREADS");
  const Tuning tuning = tune_process(2);
  EXPECT_EQ(tuning.threads, 2);
  // The allocators of sanitizers have nothing to tune.
  EXPECT_EQ(tuning.keeps_memory, mallopt(M_TRIM_THRESHOLD, 1 << 30) == 1);
  EXPECT_EQ(at::get_num_threads(), 2);
  at::set_num_threads(1);
  if (before != nullptr) setenv("OMP_NUM_THREADS", kept.c_str(), 1);
}

TEST(Host, ReadsTheKernelsTexts) {
  EXPECT_EQ(cpu_model("processor\t: 0\nmodel name\t: EPYC 9654 \nflags: x\n"), "EPYC 9654 ");
  EXPECT_EQ(cpu_model("CPU implementer\t: 0x41\n"), "unknown");
  const std::string meminfo = "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n";
  EXPECT_EQ(meminfo_bytes(meminfo, "MemTotal"), 16384 * 1024);
  EXPECT_EQ(meminfo_bytes(meminfo, "MemAvailable"), 1024 * 1024);
  EXPECT_EQ(meminfo_bytes(meminfo, "HugePages_Total"), 0);
}

class HostFiles : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::filesystem::path root_ =
      std::filesystem::path(testing::TempDir()) / ("host_files_" + std::to_string(getpid()));
};

TEST_F(HostFiles, NumaNodesAreThoseOfTheMask) {
  put("node0/cpulist", "0-3\n");
  put("node1/cpulist", "4-7\n");
  put("online", "0-1\n");
  EXPECT_THAT(numa_nodes_of({5}, root_), ElementsAre(1));
  EXPECT_THAT(numa_nodes_of({0, 7}, root_), ElementsAre(0, 1));
  EXPECT_THAT(numa_nodes_of({0}, root_ / "absent"), IsEmpty());
}

TEST_F(HostFiles, TheTightestLimitOnTheWayUpCounts) {
  put("slurm/job_7/memory.max", "1000\n");
  put("slurm/job_7/step_0/memory.max", "max\n");
  put("slurm/memory.max", "5000\n");
  EXPECT_EQ(cgroup_limit("0::/slurm/job_7/step_0\n", root_), 1000);
  EXPECT_EQ(cgroup_limit("0::/slurm\n", root_), 5000);
  EXPECT_EQ(cgroup_limit("0::/other\n", root_), std::nullopt);
  EXPECT_EQ(cgroup_limit("5:memory:/slurm\n", root_), std::nullopt);
}

TEST(Host, InfoIsJsonWithWhatThisMachineHas) {
  const auto json = nlohmann::json::parse(device_info());
  EXPECT_EQ(json.at("cores").get<size_t>(), affinity_cores().size());
  EXPECT_GT(json.at("memory_bytes").get<int64_t>(), 0);
  EXPECT_FALSE(json.at("capability").get<std::string>().empty());
  EXPECT_FALSE(json.at("host").get<std::string>().empty());
  EXPECT_TRUE(json.at("device").is_string());
}

}  // namespace
}  // namespace trireme::device
