#include "comm/launch.h"

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::comm {
namespace {

std::optional<int> number(const Environment& get, const char* name) {
  const char* text = get(name);
  if (text == nullptr) return std::nullopt;
  const std::string_view view(text);
  int value = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc() || end != view.data() + view.size() || value < 0)
    throw Error(ErrorKind::environment,
                std::string("the environment variable ") + name + "='" + text + "' is not a count",
                "unset it, or start the program through mpirun or srun");
  return value;
}

Launch launched(const char* launcher, const Environment& get, const char* rank_name,
                const char* size_name) {
  const Launch launch{launcher, number(get, rank_name).value_or(0),
                      number(get, size_name).value_or(1)};
  if (launch.size < 1 || launch.rank >= launch.size)
    throw Error(ErrorKind::environment,
                std::string("the environment says rank ") + std::to_string(launch.rank) + " (" +
                    rank_name + ") of " + std::to_string(launch.size) + " (" + size_name + ")",
                "unset these variables, or start the program through mpirun or srun");
  return launch;
}

bool has(const Environment& get, const char* name) {
  return get(name) != nullptr;
}

/// In a step of srun the step's size counts; a batch script or a shell of salloc has only the
/// job's.
Launch launched_by_slurm(const Environment& get) {
  const char* size_name =
      has(get, "SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  return launched("srun", get, "SLURM_PROCID", size_name);
}

}  // namespace

Launch detect_launch(const Environment& get) {
  if (has(get, "OMPI_COMM_WORLD_SIZE"))
    return launched("mpirun", get, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  if (has(get, "PMIX_RANK")) {
    if (has(get, "SLURM_PROCID")) return launched_by_slurm(get);
    return {"mpirun", number(get, "PMIX_RANK").value_or(0), 0};
  }
  if (has(get, "PMI_SIZE") && !has(get, "SLURM_PROCID"))
    return launched("mpirun", get, "PMI_RANK", "PMI_SIZE");
  if (has(get, "SLURM_NTASKS") || has(get, "SLURM_STEP_NUM_TASKS")) return launched_by_slurm(get);
  if (has(get, "WORLD_SIZE")) return launched("torchrun", get, "RANK", "WORLD_SIZE");
  return {};
}

Launch detect_launch() {
  return detect_launch([](const char* name) -> const char* { return std::getenv(name); });
}

Joining choose_joining(const Launch& launch, const Environment& get) {
  if (launch.size == 1) return Joining::local;
  const std::string size = std::to_string(launch.size);
  if (launch.launcher == "mpirun") return Joining::mpi;
  if (launch.launcher == "srun") {
    if (has(get, "PMIX_RANK")) return Joining::mpi;
    const bool in_step = has(get, "SLURM_STEP_NUM_TASKS") || has(get, "SLURM_STEP_ID");
    if (in_step)
      throw Error(ErrorKind::environment,
                  "srun started " + size + " processes without MPI support: each would train alone",
                  "srun --mpi=pmix ..., or mpirun inside the allocation");
    throw Error(
        ErrorKind::environment,
        "this is one process inside a Slurm allocation for " + size + " tasks",
        "start it with srun --mpi=pmix or mpirun; for a single process: srun --ntasks=1 ...");
  }
  throw Error(
      ErrorKind::environment,
      launch.launcher + " started " + size + " processes without MPI: each would train alone",
      "mpirun -np " + size + " trireme ...");
}

}  // namespace trireme::comm
