#include <trireme/comm/world.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

// Ranks that die, in real processes: each test starts this program again under mpirun, as the ranks
// of a small play. mpirun kills what is left two seconds after a rank has died, so a survivor that
// leaves its record was quick enough.
namespace trireme::comm {
namespace {

namespace fs = std::filesystem;

constexpr const char* stage_variable = "TRIREME_TEST_STAGE";

/// A folder where the players leave their records.
class Stage {
 public:
  Stage() {
    std::string pattern = testing::TempDir() + "trireme-play-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~Stage() { fs::remove_all(path_); }

  /// Plays `role` on `ranks` ranks; the exit code of mpirun.
  int play(int ranks, const std::string& role) const {
    return run(
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader "
        "OMPI_MCA_mpi_yield_when_idle=1",
        "mpirun --oversubscribe --bind-to none -np " + std::to_string(ranks), role);
  }
  /// Plays it in one process with these variables, as a launcher that is not ours would set them.
  int play_alone(const std::string& variables, const std::string& role) const {
    return run(variables, "", role);
  }

  [[nodiscard]] std::string record(const std::string& name) const {
    std::ifstream file(path_ + "/" + name);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  [[nodiscard]] int run(const std::string& variables, const std::string& launcher,
                        const std::string& role) const {
    const std::string program = fs::read_symlink("/proc/self/exe");
    const std::string command =
        std::string(stage_variable) + "='" + path_ + "' " + variables + " timeout 60 " + launcher +
        " '" + program + "' --gtest_also_run_disabled_tests --gtest_filter=Players.DISABLED_" +
        role + " > '" + path_ + "/output' 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string path_;
};

void leave_record(const std::string& name, const std::string& text) {
  std::ofstream(std::string(std::getenv(stage_variable)) + "/" + name) << text;
}

/// What a survivor does: it stands in a collective until the loss is known, and leaves with the
/// others.
void survive(World& world, const at::Tensor& values) {
  std::string record;
  try {
    for (;;) world.all()->all_reduce(values)->wait();
  } catch (const Error& error) {
    record = std::string(name_of(error.kind())) + "; ";
  }
  const auto verdict = world.side_channel().verdict(10);
  record += std::string(name_of(verdict->kind)) + " of rank " + std::to_string(verdict->rank);
  leave_record("rank" + std::to_string(world.rank()), record);
  const bool writer = world.side_channel().first_survivor() == world.rank();
  if (writer) leave_record("exit", "written by " + std::to_string(world.rank()));
  world.side_channel().leave_together(writer, 0.3);
  std::_Exit(static_cast<int>(verdict->kind));
}

void die_or_survive(int victim) {
  const auto world = join_world();
  const at::Tensor values = at::ones({1'000'000});
  if (world->rank() == victim) {
    world->all()->all_reduce(values)->wait();
    ::kill(::getpid(), SIGKILL);
  }
  survive(*world, values);
}

// The players; they are run by mpirun, never by a plain run of this program.
TEST(Players, DISABLED_rank_1_is_killed) {
  die_or_survive(1);
}
TEST(Players, DISABLED_rank_0_is_killed) {
  die_or_survive(0);
}
TEST(Players, DISABLED_rank_2_fails) {
  const auto world = join_world();
  if (world->rank() == 2) {
    Failure failure;
    failure.kind = ErrorKind::diverged;
    failure.rank = 2;
    failure.message = "the loss is not finite";
    world->side_channel().report(failure);
  }
  survive(*world, at::ones({1'000'000}));
}
TEST(Players, DISABLED_rank_1_aborts) {
  const auto world = join_world();
  world->all()->barrier()->wait();
  if (world->rank() == 1) abort_world(42);
  ::pause();
}
TEST(Players, DISABLED_all_end_well) {
  const auto world = join_world();
  world->all()->barrier()->wait();
  world->finalize();
  leave_record("rank" + std::to_string(world->rank()), "ended");
}
TEST(Players, DISABLED_joins) {
  try {
    leave_record("joined", std::to_string(join_world()->size()));
  } catch (const Error& error) {
    leave_record("joined", std::string(name_of(error.kind())) + ": " + error.hint());
  }
}

TEST(KilledRank, is_known_to_all_who_stand_in_a_collective) {
  const Stage stage;
  EXPECT_NE(stage.play(4, "rank_1_is_killed"), 0);
  for (const char* survivor : {"rank0", "rank2", "rank3"})
    EXPECT_EQ(stage.record(survivor), "peer_lost; peer_lost of rank 1") << stage.record("output");
  EXPECT_EQ(stage.record("exit"), "written by 0");
}

TEST(KilledRank, zero_is_noticed_by_every_survivor_itself) {
  const Stage stage;
  EXPECT_NE(stage.play(3, "rank_0_is_killed"), 0);
  for (const char* survivor : {"rank1", "rank2"})
    EXPECT_EQ(stage.record(survivor), "peer_lost; peer_lost of rank 0") << stage.record("output");
  EXPECT_EQ(stage.record("exit"), "written by 1");
}

TEST(FailedRank, ends_all_with_its_code) {
  const Stage stage;
  EXPECT_EQ(stage.play(3, "rank_2_fails"), static_cast<int>(ErrorKind::diverged))
      << stage.record("output");
  for (const char* rank : {"rank0", "rank1", "rank2"})
    EXPECT_EQ(stage.record(rank), "diverged; diverged of rank 2") << stage.record("output");
}

TEST(Abort, gives_the_launcher_its_code) {
  const Stage stage;
  EXPECT_EQ(stage.play(3, "rank_1_aborts"), 42) << stage.record("output");
}

TEST(OrderlyEnd, leaves_no_trace_of_failure) {
  const Stage stage;
  EXPECT_EQ(stage.play(3, "all_end_well"), 0) << stage.record("output");
  EXPECT_EQ(stage.record("rank2"), "ended");
}

TEST(WorldsOfOne, inside_a_larger_launch_are_refused_before_or_after_mpi_has_started) {
  for (const char* variables :
       {"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2", "PMI_RANK=0 PMI_SIZE=2",
        "SLURM_PROCID=0 SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2", "RANK=0 WORLD_SIZE=2"}) {
    const Stage stage;
    EXPECT_EQ(stage.play_alone(variables, "joins"), 0) << stage.record("output");
    EXPECT_EQ(stage.record("joined").substr(0, 13), "environment: ") << variables;
    EXPECT_NE(stage.record("joined").find("mpirun"), std::string::npos) << variables;
  }
}

TEST(WorldsOfOne, are_joined_alone) {
  const Stage stage;
  EXPECT_EQ(stage.play_alone("", "joins"), 0) << stage.record("output");
  EXPECT_EQ(stage.record("joined"), "1");
}

}  // namespace
}  // namespace trireme::comm
