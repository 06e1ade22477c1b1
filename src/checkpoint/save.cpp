#include "checkpoint/save.h"

#include <trireme/checkpoint/manifest.h>
#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/file_reader.h>
#include <trireme/storage/file_writer.h>
#include <trireme/storage/read_back.h>

#include "checkpoint/description.h"
#include "checkpoint/names.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <optional>
#include <span>
#include <system_error>

#include <fmt/core.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

void check_target(const Target& target) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_';
  };
  check(target.step >= 0, "a checkpoint's step is not negative");
  check(!target.run_id.empty() && std::all_of(target.run_id.begin(), target.run_id.end(), plain),
        "a run id consists of letters, digits, '-' and '_'");
}

}  // namespace

/// The folder that the checkpoint is written to before it gets its name. Made by rank 0 alone; what
/// is in it in the end (a failed attempt, or what had the name before) goes when it is destroyed.
class Save::UnfinishedFolder {
 public:
  explicit UnfinishedFolder(fs::path path) : path_(std::move(path)) {
    storage::make_directories(path_.parent_path());
    (void)storage::remove_tree(path_);
    storage::make_new_folder(path_);
  }
  ~UnfinishedFolder() {
    try {
      (void)storage::remove_tree(path_);
    } catch (const Error& error) {
      log::warning("{} stays until the next start of the run: {}", path_.native(), error.message());
    }
  }
  UnfinishedFolder(const UnfinishedFolder&) = delete;
  UnfinishedFolder& operator=(const UnfinishedFolder&) = delete;

 private:
  fs::path path_;
};

/// A file in the staging folder, gone when this is destroyed.
class Save::StagedFile {
 public:
  explicit StagedFile(fs::path path) : path_(std::move(path)) { (void)storage::remove_tree(path_); }
  ~StagedFile() {
    try {
      (void)storage::remove_tree(path_);
    } catch (const Error& error) {
      log::warning("a staged file stays until the end of the run: {}", error.message());
    }
  }
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] std::unique_ptr<const storage::FileReader> open() const {
    try {
      return std::make_unique<const storage::FileReader>(path_);
    } catch (const Error& error) {
      throw Error(ErrorKind::storage, error.message(),
                  "nobody may tidy up checkpoint.staging_dir while a run uses it");
    }
  }

 private:
  fs::path path_;
};

Save::Save(Collected state, comm::Communicator& ranks, Target target, fs::path staging)
    : state_(std::move(state)),
      ranks_(ranks),
      target_(std::move(target)),
      unfinished_(target_.folder / unfinished_name(target_.step, target_.run_id)),
      staging_(std::move(staging)) {
  const std::vector<int64_t> bytes = agree_on_parts();
  mine_ = attempt([&] {
    // As text and back, like rank 0's: else numbers differ in what type holds them.
    const Json mine = Json::parse(describe_common(state_).dump());
    const std::string difference = first_difference(common_of_root_, mine);
    if (!difference.empty())
      throw Error(ErrorKind::ranks_differ, "checkpoint: " + difference,
                  "state that should be equal on all ranks is not");
    const auto pieces = place_replicated(state_, bytes);
    shard_.emplace(state_, pieces[static_cast<size_t>(ranks_.rank())]);
    return std::string();
  });
}

Save::~Save() = default;

void Save::copy(HostBuffer& buffer, const Names& which) {
  if (mine_.error) return;
  mine_ = attempt([&] {
    shard_->copy(buffer, which);
    return std::string();
  });
}

void Save::stage(const std::atomic<bool>& cancelled) {
  if (mine_.error || staging_.empty()) return;
  mine_ = attempt([&] {
    staged_ = std::make_unique<StagedFile>(staging_ / (folder_name(target_.step) + ".staged"));
    written_ = write_shard(staged_->path(), cancelled);
    return std::string();
  });
  shard_.reset();  // and with it what it refers to
}

void Save::write(const std::atomic<bool>& cancelled) {
  if (!mine_.error)
    mine_ = attempt([&] {
      const std::string name = shard_name(ranks_.rank(), ranks_.size());
      const fs::path file = unfinished_ / name;
      if (staged_ == nullptr) written_ = write_shard(file, cancelled);
      written_.file.name = name;
      if (staged_ != nullptr) copy_staged(cancelled);
      if (target_.read_back && storage::read_back(file) != written_.file.hash)
        throw Error(ErrorKind::storage,
                    file.native() + ": what comes back from the disk is not what was written",
                    "the disk, its controller or the network to it damages data: save elsewhere");
      return to_text(written_);
    });
  shard_.reset();  // and with it what it refers to
  staged_.reset();
}

ShardWriter::Written Save::write_shard(const fs::path& path,
                                       const std::atomic<bool>& cancelled) const {
  return shard_->write(path.parent_path(), path.filename(),
                       {{"trireme.step", std::to_string(target_.step)},
                        {"trireme.run_id", target_.run_id},
                        {"trireme.rank", std::to_string(ranks_.rank())}},
                       cancelled);
}

void Save::copy_staged(const std::atomic<bool>& cancelled) const {
  const auto staged = staged_->open();
  storage::FileWriter file(unfinished_ / written_.file.name, written_.file.bytes);
  staged->for_each_piece([&](std::span<const std::byte> piece) {
    if (cancelled.load(std::memory_order_relaxed)) throw given_up();
    file.write(piece.data(), piece.size());
  });
  if (file.hash() != written_.file.hash)
    throw Error(
        ErrorKind::storage,
        staged->path().native() + ": what comes back from the disk is not what was written",
        "the disk of checkpoint.staging_dir or its controller damages data: stage elsewhere");
  file.finish();
}

void Save::hand_over() {
  outcomes_ = ranks_.gather_bytes(to_text(mine_), 0);
}

std::optional<Committed> Save::complete() {
  if (!root()) return {};
  verdict_ = attempt([&] { return commit_on_root(); });
  folder_.reset();  // before the others know: no rank sees what is left
  if (verdict_.error) return {};
  return committed_from(verdict_.result);
}

Committed Save::conclude() {
  return committed_from(announce(verdict_));
}

Committed Save::committed_from(const std::string& text) const {
  const Json committed = Json::parse(text);
  return {target_.folder / folder_name(target_.step), committed.at(0), committed.at(1)};
}

/// Returns how many bytes each rank alone holds.
std::vector<int64_t> Save::agree_on_parts() {
  const Json mine = Json::array({shard_bytes(state_), to_text(describe_shards(state_))});
  const std::vector<std::string> all = ranks_.gather_bytes(mine.dump(), 0);
  const std::string verdict = judged([&] {
    check_target(target_);
    std::vector<std::vector<ShardDescription>> shards;
    Json bytes = Json::array();
    for (const std::string& one : all) {
      const Json parsed = Json::parse(one);
      bytes.push_back(parsed.at(0));
      shards.push_back(shards_from(parsed.at(1).get<std::string>()));
    }
    if (const std::string problem = shards_problem(shards); !problem.empty())
      throw Error(ErrorKind::ranks_differ, "checkpoint: " + problem,
                  "the ranks' shards do not fit together; report it with the configuration");
    folder_ = std::make_unique<UnfinishedFolder>(unfinished_);
    return Json::array({bytes, describe_common(state_)}).dump();
  });
  const Json agreed = Json::parse(verdict);
  common_of_root_ = agreed.at(1);
  return agreed.at(0).get<std::vector<int64_t>>();
}

std::string Save::commit_on_root() {
  Manifest manifest;
  manifest.step = target_.step;
  manifest.world_size = ranks_.size();
  manifest.run_id = target_.run_id;
  manifest.extras = target_.extras;
  manifest.scalars = state_.scalars;
  add_empty_tensors(manifest);
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    const Outcome outcome = outcome_from(outcomes_[static_cast<size_t>(rank)]);
    if (outcome.error) throw of_rank(rank, *outcome.error);
    add(outcome.result, manifest);
  }
  const int64_t bytes = write_manifest(manifest);
  storage::sync_directory(unfinished_);
  (void)storage::rename_folder(unfinished_, target_.folder / folder_name(target_.step));
  return Json::array({bytes, manifest.files.size() + 1}).dump();
}

/// Tensors without elements are in no file.
void Save::add_empty_tensors(Manifest& manifest) const {
  for (const auto& [name, values] : state_.replicated)
    if (values.numel() == 0)
      manifest.tensors[name] = {values.scalar_type(), values.sizes().vec(), {}};
  for (const auto& one : state_.shards)
    if (core::Box::whole(one.shape).elements() == 0)
      manifest.tensors[one.name] = {one.values.scalar_type(), one.shape, {}};
}

int64_t Save::write_manifest(const Manifest& manifest) const {
  const std::string text = to_text(manifest);
  (void)parse_manifest(text, unfinished_ / manifest_name);  // what is saved can be read
  storage::FileWriter file(unfinished_ / manifest_name, static_cast<int64_t>(text.size()));
  file.write(text);
  file.finish();
  int64_t bytes = file.bytes();
  for (const StoredFile& one : manifest.files) bytes += one.bytes;
  return bytes;
}

/// What rank 0 makes of it, on all ranks: a result, or the Error that all throw.
std::string Save::judged(const std::function<std::string()>& work) {
  Outcome outcome;
  if (root()) {
    outcome = attempt(work);
    if (outcome.error) folder_.reset();  // before the others know: no rank sees what is left
  }
  return announce(outcome);
}

/// Rank 0's word, on all ranks.
std::string Save::announce(const Outcome& verdict) {
  const std::string text = ranks_.broadcast_bytes(root() ? to_text(verdict) : std::string(), 0);
  const Outcome agreed = outcome_from(text);
  if (agreed.error) throw *agreed.error;
  return agreed.result;
}

Committed commit(const Collected& state, comm::Communicator& ranks, const Target& target) {
  const std::atomic<bool> never = false;
  Save save(state, ranks, target);
  save.write(never);
  save.hand_over();
  (void)save.complete();
  return save.conclude();
}

}  // namespace trireme::checkpoint
