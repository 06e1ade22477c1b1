#include <trireme/checkpoint/staging_folder.h>
#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/hash.h>

#include "checkpoint/verdict.h"

#include <array>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;

/// The same for every start of a run, and for no other run: containers may give two runs the same
/// path, so the number of the folder belongs to it.
std::string key_of(const fs::path& checkpoints) {
  std::error_code error;
  struct stat status {};
  (void)::stat(checkpoints.c_str(), &status);
  const std::string text =
      fmt::format("{} {}", fs::weakly_canonical(checkpoints, error).native(), status.st_ino);
  return storage::hash_of(text).hex().substr(0, 16);
}

std::string host_name() {
  std::array<char, 256> host{};
  (void)::gethostname(host.data(), host.size() - 1);
  return host.data();
}

/// Whether this is the first rank of its machine.
bool leads_its_host(comm::Communicator& ranks) {
  const std::string mine = host_name();
  const std::vector<std::string> hosts = ranks.all_gather_bytes(mine);
  for (int rank = 0; rank < ranks.rank(); ++rank)
    if (hosts[static_cast<size_t>(rank)] == mine) return false;
  return true;
}

void remove_or_warn(const fs::path& path) noexcept {
  try {
    (void)storage::remove_tree(path);
  } catch (const std::exception& error) {
    log::warning("a staging folder could not be removed: {}", error.what());
  }
}

void make(const fs::path& staging, const fs::path& of_run, const fs::path& of_rank) {
  std::error_code error;
  if (!fs::is_directory(staging, error))
    throw Error(ErrorKind::storage, fmt::format("{}: there is no such folder", staging.native()),
                "checkpoint.staging_dir has to exist on every machine; it is not made, for it "
                "could land on another disk");
  storage::make_directories(of_run);
  storage::make_new_folder(of_rank);
}

}  // namespace

StagingFolder::StagingFolder(const fs::path& staging, const fs::path& checkpoints,
                             comm::Communicator& ranks) {
  const std::string key =
      ranks.broadcast_bytes(ranks.rank() == 0 ? key_of(checkpoints) : std::string(), 0);
  of_run_ = staging / fmt::format("trireme-{}", key);
  path_ = of_run_ / fmt::format("rank-{:05}", ranks.rank());
  if (leads_its_host(ranks)) remove_or_warn(of_run_);
  ranks.barrier()->wait();
  const Outcome mine = attempt([&] {
    make(staging, of_run_, path_);
    return std::string();
  });
  const std::vector<std::string> outcomes = ranks.all_gather_bytes(to_text(mine));
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const Outcome outcome = outcome_from(outcomes[static_cast<size_t>(rank)]);
    if (!outcome.error) continue;
    if (!mine.error) remove();
    throw of_rank(rank, *outcome.error);
  }
}

StagingFolder::~StagingFolder() {
  remove();
}

void StagingFolder::remove() noexcept {
  remove_or_warn(path_);
  (void)::rmdir(of_run_.c_str());  // by the last rank
}

}  // namespace trireme::checkpoint
