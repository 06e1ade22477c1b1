#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trireme::checkpoint {

/// Which checkpoints stay; what any of the rules keeps is kept.
struct Retention {
  struct Score {
    int64_t step = 0;
    double value = 0;  ///< lower is better
  };
  int64_t last = 1;  ///< the newest so many, at least 1
  int64_t best = 0;  ///< the best so many of those that have a score
  std::vector<Score> scores;
  std::optional<int64_t> every_steps;  ///< those whose step it divides
};

/// A folder of checkpoints, step-00001200 and so on. One rank looks and deletes and tells the
/// others: on network file systems they may see different things.
class Store {
 public:
  explicit Store(std::filesystem::path folder) : folder_(std::move(folder)) {}

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path path_of(int64_t step) const;
  /// What has the name of a checkpoint, ascending; valid or not. Empty if there is no folder.
  [[nodiscard]] std::vector<int64_t> steps() const;

  enum class Check {
    manifest,    ///< it verifies, and all files are there with their sizes
    everything,  ///< and every file has its hash: reads all of it
  };
  struct Newest {
    std::optional<int64_t> step;
    std::vector<std::string> skipped;  ///< newer ones that are not valid, each with the reason
  };
  [[nodiscard]] Newest newest_valid(Check check = Check::manifest) const;

  /// Deletes what retention() does not keep; call after the commit of step `newest`. What could not
  /// be deleted is returned, each with the reason; the next call tries again.
  std::vector<std::string> prune(int64_t newest, const Retention& keep) const;

  /// Moves the checkpoints above `step` (nothing: all) into a new folder beside this one, named
  /// after it with ".set-aside-1" and so on: they are of a future that is not going to happen.
  /// Returns that folder, empty if there was nothing to move. Error storage.
  std::filesystem::path set_aside(std::optional<int64_t> step) const;

  /// Removes what dead attempts left of unfinished or half-deleted checkpoints, and gives one that
  /// died in the moment of being replaced its name back. Nobody may be saving into the folder.
  /// Returns the names removed.
  std::vector<std::string> remove_stale() const;

 private:
  std::filesystem::path folder_;
};

/// The steps to delete once `newest` is committed. Higher ones are what a run left that was resumed
/// from before them.
[[nodiscard]] std::vector<int64_t> retention(std::span<const int64_t> steps, int64_t newest,
                                             const Retention& keep);

/// The checkpoint that a user means by `path`: itself, or the newest valid one of a folder of
/// checkpoints or of a run folder; skipped ones are added to `skipped`. Error no_checkpoint.
[[nodiscard]] std::filesystem::path locate(const std::filesystem::path& path,
                                           std::vector<std::string>* skipped = nullptr);

}  // namespace trireme::checkpoint
