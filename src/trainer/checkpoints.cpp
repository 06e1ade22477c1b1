#include "trainer/checkpoints.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/headeronly/version.h>

#include <trireme/checkpoint/writer.h>
#include <trireme/core/log.h>
#include <trireme/storage/durable.h>

#include "trainer/agreement.h"

#include <ATen/ATen.h>

namespace trireme::trainer {

namespace {

/// What the model computes with and the optimizer's state change in the update alone.
bool changes_between_updates(const std::string& name) { return name.starts_with("buffer/"); }

}  // namespace

Checkpoints::Checkpoints(const comm::CommunicatorPtr& all, const std::filesystem::path& folder, const checkpoint::Retention& keep,
                         bool read_back, const std::optional<std::string>& staging_dir, telemetry::Recorder& recorder)
    : all_(all), store_(folder), keep_(keep), read_back_(read_back),
      staging_(staging_dir ? std::make_optional<checkpoint::StagingFolder>(*staging_dir, folder, *all) : std::nullopt),
      saver_(all, {.copied_at_once = changes_between_updates, .staging = staging_ ? staging_->path() : std::filesystem::path(), .recorder = &recorder}) {}

void Checkpoints::find(const std::string& resume) {
  const std::string path = on_rank_0(*all_, [&] {
    std::vector<std::string> skipped;
    std::string found;
    if (resume == "never") {
      set_aside({});
    } else if (resume != "auto") {
      found = checkpoint::locate(resume, &skipped).string();
      std::error_code unrelated;
      const bool of_this_run = std::filesystem::equivalent(std::filesystem::path(found).parent_path(), store_.folder(), unrelated);
      set_aside(of_this_run ? std::optional(checkpoint::read_manifest(found).step) : std::nullopt);
      std::error_code absent;
      const std::filesystem::path own = store_.path_of(checkpoint::read_manifest(found).step);
      if (of_this_run && std::filesystem::equivalent(found, own, absent)) found = own.string();  // by the name that this run has for it
    } else {
      for (const std::string& name : store_.remove_stale()) log::info("removed an unfinished checkpoint of an earlier attempt: {}", name);
      const checkpoint::Store::Newest newest = store_.newest_valid(checkpoint::Store::Check::everything);
      skipped = newest.skipped;
      if (newest.step) {
        found = store_.path_of(*newest.step).string();
        set_aside(newest.step);  // newer ones are damaged
      }
    }
    for (const std::string& one : skipped) log::warning("checkpoint skipped: {}", one);
    if (found.empty() && !skipped.empty())
      throw Error(ErrorKind::no_checkpoint, "none of the checkpoints in " + store_.folder().string() + " is valid",
                  "set run.resume=never to begin anew, or restore a checkpoint from a backup");
    return found;
  });
  if (path.empty()) return;
  reader_.emplace(path);
  resumed_ = true;
  own_ = std::filesystem::path(path).parent_path() == store_.folder();
  extras_ = reader_->manifest().extras;
  if (extras_.value("contents", "") == "weights")
    throw Error(ErrorKind::configuration, path + ": holds weights alone, a run cannot go on from it",
                "set model.weights to it, and run.dir to another folder");
  if (all_->rank() != 0) return;
  for (const auto& [software, mine] : std::initializer_list<std::pair<const char*, std::string>>{{"trireme", TRIREME_VERSION}, {"libtorch", TORCH_VERSION}})
    if (const std::string theirs = extras_.value(software, mine); theirs != mine)
      log::info("the checkpoint was written with {} {}, this is {}: the resume is exact only if both compute alike", software, theirs, mine);
}

void Checkpoints::set_aside(std::optional<int64_t> later_than) {
  const std::filesystem::path aside = store_.set_aside(later_than);
  if (!aside.empty()) log::info("checkpoints of an earlier course of this run were moved to {}", aside.native());
}

std::string Checkpoints::extra(const std::string& name) const { return extras_.value(name, "{}"); }

void Checkpoints::restore() {
  for (core::Stateful* component : components_) component->load_state(*reader_);
  reader_.reset();
}

void Checkpoints::label(std::string identity, std::string configuration, std::string data, int64_t attempt) {
  identity_ = std::move(identity);
  configuration_ = std::move(configuration);
  data_ = std::move(data);
  attempt_ = attempt;
}

void Checkpoints::forecast() const {
  checkpoint::Writer writer;
  for (const core::Stateful* component : components_) component->save_state(writer);
  const checkpoint::Collected& state = writer.collected();
  int64_t sharded = 0, replicated = 0;
  for (const auto& shard : state.shards) sharded += static_cast<int64_t>(shard.values.nbytes());
  for (const auto& [name, values] : state.replicated) replicated += static_cast<int64_t>(values.nbytes());
  const at::Tensor bytes = at::full({}, sharded, at::kLong);
  all_->all_reduce(bytes)->wait();
  if (all_->rank() != 0) return;
  const int64_t one = bytes.item<int64_t>() + replicated;
  const auto there = static_cast<int64_t>(store_.steps().size());
  // One more than are kept: old ones go only after the new one is complete.
  const int64_t more = std::max<int64_t>(1, keep_.last + keep_.best + 1 - there);
  const int64_t free = storage::free_bytes(store_.folder());
  constexpr double mib = 1 << 20;
  if (free >= 0 && free / more < one)
    log::warning("{}: {:.0f} MiB are free, {} more checkpoint{} of {:.0f} MiB will need {:.0f} MiB", store_.folder().native(),
                 static_cast<double>(free) / mib, more, more == 1 ? "" : "s", static_cast<double>(one) / mib,
                 static_cast<double>(one) * static_cast<double>(more) / mib);
}

void Checkpoints::begin(int64_t step, std::vector<checkpoint::Retention::Score> scores) {
  checkpoint::Writer writer;
  for (const core::Stateful* component : components_) component->save_state(writer);
  checkpoint::Target target{.folder = store_.folder(),
                            .step = step,
                            .run_id = fmt::format("a{}", attempt_),
                            .extras = {{"identity", identity_},
                                       {"configuration", configuration_},
                                       {"data", data_},
                                       {"trireme", TRIREME_VERSION},
                                       {"libtorch", TORCH_VERSION}},
                            .read_back = read_back_};
  checkpoint::Retention keep = keep_;
  keep.scores = std::move(scores);
  saver_.begin(writer.collected(), std::move(target), [store = store_, keep = std::move(keep), step](const checkpoint::Committed&) {
    for (const std::string& problem : store.prune(step, keep)) log::warning("an old checkpoint could not be deleted: {}", problem);
  });
}

}  // namespace trireme::trainer
