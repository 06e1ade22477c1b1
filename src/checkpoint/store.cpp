#include <trireme/checkpoint/manifest.h>
#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/storage/durable.h>

#include "checkpoint/damage.h"
#include "checkpoint/names.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <system_error>

#include <fmt/core.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;

/// Instead of a run id: half-deleted a checkpoint must not look like one.
constexpr const char* deleted = "deleted";

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    names.push_back(entry->path().filename().native());
  std::sort(names.begin(), names.end());
  return names;
}

/// Throws if the checkpoint in the place of `step` is not valid.
void check_checkpoint(const fs::path& path, int64_t step, Store::Check check) {
  const Reader reader(path);
  if (reader.manifest().step != step)
    throw Error(ErrorKind::no_checkpoint,
                fmt::format("{}: it holds step {}", path.native(), reader.manifest().step));
  if (check == Store::Check::everything) reader.verify();
  check_nothing_extra(path, reader.manifest());
  for (const StoredFile& file : reader.manifest().files) check_present(path, file);
}

}  // namespace

fs::path Store::path_of(int64_t step) const {
  return folder_ / folder_name(step);
}

std::vector<int64_t> Store::steps() const {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(folder_))
    if (const auto step = step_of(name)) steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

Store::Newest Store::newest_valid(Check check) const {
  Newest newest;
  const std::vector<int64_t> all = steps();
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    try {
      check_checkpoint(path_of(*step), *step, check);
      newest.step = *step;
      return newest;
    } catch (const Error& error) {
      // What cannot be read for the moment is not invalid: going on from an older one would get it
      // deleted.
      if (error.kind() != ErrorKind::no_checkpoint && error.kind() != ErrorKind::data_damaged)
        throw;
      newest.skipped.push_back(error.message());
    }
  }
  return newest;
}

std::vector<std::string> Store::prune(int64_t newest, const Retention& keep) const {
  std::vector<std::string> problems;
  const auto try_to = [&](const auto& remove) {
    try {
      remove();
    } catch (const Error& error) {
      problems.push_back(error.message());
    }
  };
  for (const std::string& name : names_in(folder_))  // what an earlier call could not
    if (is_unfinished(name) && name.ends_with(fmt::format("-{}", deleted)))
      try_to([&] { (void)storage::remove_tree(folder_ / name); });
  for (const int64_t step : retention(steps(), newest, keep))
    try_to([&] {
      const fs::path doomed = folder_ / unfinished_name(step, deleted);
      (void)storage::remove_tree(doomed);
      (void)storage::rename_folder(path_of(step), doomed);
      (void)storage::remove_tree(doomed);
    });
  return problems;
}

fs::path Store::set_aside(std::optional<int64_t> step) const {
  std::vector<int64_t> later = steps();
  std::erase_if(later, [&](int64_t one) { return step && one <= *step; });
  if (later.empty()) return {};
  fs::path aside;
  std::error_code error;
  for (int number = 1; aside.empty(); ++number) {
    const fs::path candidate = fmt::format("{}.set-aside-{}", folder_.native(), number);
    if (!fs::exists(candidate, error)) aside = candidate;
  }
  storage::make_directories(aside);
  for (const int64_t one : later)
    (void)storage::rename_folder(path_of(one), aside / folder_name(one));
  return aside;
}

std::vector<std::string> Store::remove_stale() const {
  std::vector<std::string> removed;
  std::error_code error;
  for (const std::string& name : names_in(folder_)) {
    if (!is_unfinished(name)) continue;
    const fs::path stale = folder_ / name;
    const fs::path committed = folder_ / name.substr(0, name.find(storage::replaced_suffix));
    if (committed != stale && !fs::exists(committed, error)) {
      (void)storage::rename_folder(stale, committed);
      continue;
    }
    try {
      if (storage::remove_tree(stale)) removed.push_back(name);
    } catch (const Error& failure) {
      // In the way of nothing but space.
      log::warning("what a dead attempt left could not be removed: {}", failure.message());
    }
  }
  return removed;
}

std::vector<int64_t> retention(std::span<const int64_t> steps, int64_t newest,
                               const Retention& keep) {
  std::vector<int64_t> candidates(steps.begin(), steps.end());
  std::sort(candidates.begin(), candidates.end());
  std::vector<Retention::Score> scores;
  for (const Retention::Score& score : keep.scores)
    if (std::isfinite(score.value) &&
        std::binary_search(candidates.begin(), candidates.end(), score.step))
      scores.push_back(score);
  // Of equal ones the earlier, as for the best so far.
  std::stable_sort(scores.begin(), scores.end(),
                   [](const auto& a, const auto& b) { return a.value < b.value; });
  scores.resize(std::min(scores.size(), static_cast<size_t>(std::max<int64_t>(keep.best, 0))));

  const auto behind = std::upper_bound(candidates.begin(), candidates.end(), newest);
  const auto kept = std::min<int64_t>(std::max<int64_t>(keep.last, 1), behind - candidates.begin());
  candidates.erase(behind - kept, behind);
  std::erase_if(candidates, [&](int64_t step) {
    const bool best = std::ranges::any_of(scores, [&](const auto& s) { return s.step == step; });
    return best || (keep.every_steps && step <= newest && step % *keep.every_steps == 0);
  });
  return candidates;
}

fs::path locate(const fs::path& path, std::vector<std::string>* skipped) {
  std::error_code error;
  if (fs::exists(path / manifest_name, error)) return path;
  std::vector<std::string> reasons;
  for (const fs::path& folder : {path, path / "checkpoints"}) {
    const Store store(folder);
    Store::Newest newest = store.newest_valid();
    reasons.insert(reasons.end(), newest.skipped.begin(), newest.skipped.end());
    if (!newest.step) continue;
    if (skipped != nullptr) skipped->insert(skipped->end(), reasons.begin(), reasons.end());
    return store.path_of(*newest.step);
  }
  std::string message = fmt::format("{}: there is no valid checkpoint", path.native());
  for (const std::string& reason : reasons) message += "\n  skipped " + reason;
  throw Error(ErrorKind::no_checkpoint, message,
              "name a run folder, its folder checkpoints, or one checkpoint step-...");
}

}  // namespace trireme::checkpoint
