#include "comm/launch.h"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::comm {
namespace {

using Variables = std::map<std::string, std::string>;

struct Case {
  const char* name;
  Variables variables;
  const char* launcher;
  int rank, size;
  enum Outcome { local, mpi, refused } outcome;
  const char* hint = "";  // part of it, if refused
};

// The variables of the launchers as they were seen on Open MPI 4.1 and Slurm 22.05.
const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"alone", {}, "alone", 0, 1, Case::local},
      {"mpirun",
       {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "2"}},
       "mpirun",
       2,
       4,
       Case::mpi},
      {"mpirun_of_one",
       {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}, {"PMIX_RANK", "0"}},
       "mpirun",
       0,
       1,
       Case::local},
      {"mpirun_in_slurm_with_the_daemons_variables",
       {{"OMPI_COMM_WORLD_RANK", "3"},
        {"OMPI_COMM_WORLD_SIZE", "4"},
        {"PMIX_RANK", "3"},
        {"SLURM_PROCID", "0"},
        {"SLURM_NTASKS", "2"},
        {"SLURM_STEP_NUM_TASKS", "2"}},
       "mpirun",
       3,
       4,
       Case::mpi},
      {"srun_pmix",
       {{"PMIX_RANK", "5"},
        {"SLURM_PROCID", "5"},
        {"SLURM_NTASKS", "6"},
        {"SLURM_STEP_NUM_TASKS", "6"}},
       "srun",
       5,
       6,
       Case::mpi},
      {"srun_pmix_step_smaller_than_the_job",
       {{"PMIX_RANK", "1"},
        {"SLURM_PROCID", "1"},
        {"SLURM_NTASKS", "8"},
        {"SLURM_STEP_NUM_TASKS", "2"}},
       "srun",
       1,
       2,
       Case::mpi},
      {"srun_pmix_of_one_in_a_job_of_many",
       {{"PMIX_RANK", "0"},
        {"SLURM_PROCID", "0"},
        {"SLURM_NTASKS", "8"},
        {"SLURM_STEP_NUM_TASKS", "1"}},
       "srun",
       0,
       1,
       Case::local},
      {"srun_without_mpi",
       {{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}, {"SLURM_STEP_NUM_TASKS", "4"}},
       "srun",
       1,
       4,
       Case::refused,
       "srun --mpi=pmix"},
      {"srun_pmi2",
       {{"SLURM_PROCID", "1"},
        {"SLURM_NTASKS", "4"},
        {"SLURM_STEP_NUM_TASKS", "4"},
        {"PMI_RANK", "1"},
        {"PMI_SIZE", "4"}},
       "srun",
       1,
       4,
       Case::refused,
       "srun --mpi=pmix"},
      {"srun_of_one",
       {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}, {"SLURM_STEP_NUM_TASKS", "1"}},
       "srun",
       0,
       1,
       Case::local},
      {"batch_script_of_many_tasks",
       {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}},
       "srun",
       0,
       4,
       Case::refused,
       "srun --ntasks=1"},
      {"shell_of_salloc", {{"SLURM_NTASKS", "4"}}, "srun", 0, 4, Case::refused, "mpirun"},
      {"batch_script_of_one_task",
       {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}},
       "srun",
       0,
       1,
       Case::local},
      {"slurm_without_a_task_count",
       {{"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "7"}},
       "alone",
       0,
       1,
       Case::local},
      {"bare_pmix", {{"PMIX_RANK", "3"}}, "mpirun", 3, 0, Case::mpi},
      {"another_mpiexec", {{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}}, "mpirun", 1, 3, Case::mpi},
      {"torchrun",
       {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}, {"MASTER_PORT", "29500"}},
       "torchrun",
       1,
       2,
       Case::refused,
       "mpirun -np 2"},
      {"torchrun_of_one", {{"RANK", "0"}, {"WORLD_SIZE", "1"}}, "torchrun", 0, 1, Case::local},
      {"mpirun_before_torchrun",
       {{"RANK", "0"},
        {"WORLD_SIZE", "9"},
        {"OMPI_COMM_WORLD_RANK", "1"},
        {"OMPI_COMM_WORLD_SIZE", "2"}},
       "mpirun",
       1,
       2,
       Case::mpi},
  };
  return all;
}

Environment environment_of(const Variables& variables) {
  return [&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

class LaunchDetection : public testing::TestWithParam<Case> {};

TEST_P(LaunchDetection, finds_launcher_rank_size_and_the_way_to_join) {
  const Case& expected = GetParam();
  const Environment get = environment_of(expected.variables);
  const Launch launch = detect_launch(get);
  EXPECT_EQ(launch.launcher, expected.launcher);
  EXPECT_EQ(launch.rank, expected.rank);
  EXPECT_EQ(launch.size, expected.size);
  try {
    const Joining joining = choose_joining(launch, get);
    EXPECT_NE(expected.outcome, Case::refused);
    EXPECT_EQ(joining, expected.outcome == Case::mpi ? Joining::mpi : Joining::local);
  } catch (const Error& error) {
    EXPECT_EQ(expected.outcome, Case::refused) << error.what();
    EXPECT_EQ(error.kind(), ErrorKind::environment);
    EXPECT_THAT(error.hint(), testing::HasSubstr(expected.hint));
  }
}

INSTANTIATE_TEST_SUITE_P(launchers, LaunchDetection, testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

TEST(LaunchDetection, refuses_variables_that_make_no_sense) {
  const std::vector<Variables> senseless{
      {{"OMPI_COMM_WORLD_RANK", "4"}, {"OMPI_COMM_WORLD_SIZE", "4"}},
      {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "0"}},
      {{"OMPI_COMM_WORLD_RANK", "-1"}, {"OMPI_COMM_WORLD_SIZE", "4"}},
      {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "4x"}},
      {{"WORLD_SIZE", ""}},
      {{"SLURM_NTASKS", "99999999999999"}},
  };
  for (const Variables& variables : senseless) {
    try {
      static_cast<void>(detect_launch(environment_of(variables)));
      ADD_FAILURE() << variables.begin()->first << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::environment);
      // The message names a variable.
      EXPECT_THAT(error.message(), testing::ContainsRegex("[A-Z]+_[A-Z]+"));
    }
  }
}

}  // namespace
}  // namespace trireme::comm
