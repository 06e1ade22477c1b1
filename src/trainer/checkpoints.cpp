#include "trainer/checkpoints.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/headeronly/version.h>

#include <trireme/checkpoint/writer.h>
#include <trireme/core/log.h>

#include "trainer/agreement.h"

namespace trireme::trainer {

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
  extras_ = reader_->manifest().extras;
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

void Checkpoints::save(int64_t step) {
  checkpoint::Writer writer;
  for (const core::Stateful* component : components_) component->save_state(writer);
  writer.commit(*all_, {.folder = store_.folder(),
                        .step = step,
                        .run_id = fmt::format("a{}", attempt_),
                        .extras = {{"identity", identity_},
                                   {"configuration", configuration_},
                                   {"data", data_},
                                   {"trireme", TRIREME_VERSION},
                                   {"libtorch", TORCH_VERSION}}});
  if (all_->rank() != 0) return;
  for (const std::string& problem : store_.prune(step, keep_last_)) log::warning("an old checkpoint could not be deleted: {}", problem);
}

}  // namespace trireme::trainer
