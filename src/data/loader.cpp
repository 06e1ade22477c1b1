#include <trireme/core/error.h>
#include <trireme/core/fault.h>
#include <trireme/data/loader.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>

namespace trireme::data {
namespace {

using telemetry::now_ns;

/// Signals are for the main thread: threads started while this lives inherit a full mask.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

// Steps on small batches are short: with only a few batches ahead, a worker that is descheduled for
// a moment is felt.
constexpr int64_t small_batch_bytes = 1 << 20;
constexpr int64_t depth_of_small_batches = 8;

struct Outcome {
  bool ready = false;
  GlobalBatch global;
  LoadedBatch batch;
  std::exception_ptr error;
};

void act_out_fault(LoadedBatch& batch) {
  switch (core::fault::at("load")) {
    case core::fault::Action::none:
      return;
    case core::fault::Action::nan:
      for (auto& micro : batch.micro_batches)
        for (auto& field : micro.fields)
          if (field.values.scalar_type() == at::kFloat)
            std::fill_n(static_cast<float*>(field.values.data_ptr()), field.values.numel(),
                        std::numeric_limits<float>::quiet_NaN());
      return;
    default:
      throw Error(ErrorKind::data_damaged, "reading data failed (a fault that was asked for)",
                  "unset TRIREME_FAULT");
  }
}

}  // namespace

class Loader::Pipeline {
 public:
  Pipeline(std::shared_ptr<const Dataset> dataset, const Sampler& sampler,
           TransformChain transforms, LoaderSettings settings, int64_t position)
      : dataset_(std::move(dataset)),
        sampler_(sampler),
        transforms_(std::move(transforms)),
        settings_(std::move(settings)),
        loading_(telemetry::section_of(settings_.recorder, settings_.section,
                                       telemetry::Category::data_loading)),
        planned_(position),
        consumed_position_(position) {
    check(settings_.rank >= 0 && settings_.rank < settings_.ranks, "a rank of the world");
    check(dataset_ != nullptr && sampler_.settings().samples == dataset_->size(),
          "the sampler's and the data set's sizes");
    depth_ =
        settings_.prefetch > 0 ? settings_.prefetch : std::max<int64_t>(2, 2 * settings_.workers);
    slots_.resize(static_cast<size_t>(std::max(depth_, depth_of_small_batches)));
  }

  ~Pipeline() { stop_workers(); }

  std::optional<LoadedBatch> next() {
    const int64_t begin = now_ns();
    if (at_end(consumed_position_)) {
      if (!settings_.persistent_workers) stop_workers();
      return std::nullopt;
    }
    Outcome outcome = settings_.workers == 0 ? load_here() : take();
    const std::lock_guard lock(mutex_);
    counters_.wait_ns += now_ns() - begin;
    consumed_position_ = outcome.global.position_after;
    if (outcome.error) std::rethrow_exception(outcome.error);
    act_out_fault(outcome.batch);
    counters_.batches += 1;
    for (const auto& micro : outcome.batch.micro_batches) {
      counters_.samples += micro.size();
    }
    counters_.bytes += outcome.batch.bytes();
    return std::move(outcome.batch);
  }

  void restart(int64_t position) {
    const std::lock_guard lock(mutex_);
    ++generation_;  // batches under way belong to the past when they arrive
    issued_ = consumed_ = 0;
    planned_ = consumed_position_ = position;
    for (Outcome& slot : slots_) slot = Outcome();
    counters_.held_bytes = 0;
    room_.notify_all();
  }

  [[nodiscard]] int64_t position() const { return consumed_position_; }
  [[nodiscard]] int64_t micro_steps() const {
    return data::micro_steps(sampler_.settings().global_batch, settings_.ranks,
                             settings_.batch_size);
  }
  [[nodiscard]] const Sampler& sampler() const { return sampler_; }
  [[nodiscard]] LoaderCounters counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  [[nodiscard]] bool at_end(int64_t position) const {
    return settings_.end && position >= *settings_.end;
  }
  [[nodiscard]] Outcome& slot(int64_t ticket) {
    return slots_[static_cast<size_t>(ticket) % slots_.size()];
  }

  [[nodiscard]] core::Batch load_micro(const GlobalBatch& global, int64_t micro_step) const {
    const SampleRun run =
        micro_run(global.count, micro_step, settings_.rank, settings_.ranks, settings_.batch_size);
    std::vector<int64_t> ids(static_cast<size_t>(run.count));
    sampler_.ids(global, run, ids.data());
    core::Batch batch = dataset_->read(ids);
    const uint64_t seed = sampler_.settings().seed;
    if (!transforms_.empty()) transforms_.apply(batch, seed, global.epoch);
    // Not of the micro-step: which one a sample is in depends on the number of ranks.
    batch.random = core::RandomKey(seed).fold("batch").fold(static_cast<uint64_t>(global.position));
    if (settings_.place)
      for (auto& field : batch.fields) field.values = settings_.place(field.values);
    return batch;
  }

  [[nodiscard]] Outcome load(const GlobalBatch& global) const {
    Outcome outcome;
    outcome.global = outcome.batch.global = global;
    const telemetry::SectionScope scope(loading_);
    try {
      (void)core::fault::at("data.load");
      for (int64_t m = 0; m < micro_steps(); ++m)
        outcome.batch.micro_batches.push_back(load_micro(global, m));
    } catch (...) {
      outcome.error = std::current_exception();
    }
    outcome.ready = true;
    return outcome;
  }

  Outcome load_here() {
    const int64_t begin = now_ns();
    Outcome outcome = load(sampler_.next(consumed_position_));
    const std::lock_guard lock(mutex_);
    counters_.load_ns += now_ns() - begin;
    return outcome;
  }

  Outcome take() {
    start_workers();
    std::unique_lock lock(mutex_);
    counters_.ready = std::ranges::count_if(slots_, &Outcome::ready);
    Outcome& mine = slot(consumed_);
    arrived_.wait(lock, [&] { return mine.ready; });
    Outcome outcome = std::exchange(mine, Outcome());
    ++consumed_;
    counters_.held_bytes -= outcome.batch.bytes();
    // Small batches several at a time: waking a thread costs as much as loading one.
    if (!small_batches_ || issued_ - consumed_ <= depth_ / 2) room_.notify_all();
    return outcome;
  }

  void work(int64_t number) {
    pthread_setname_np(pthread_self(), "trireme-data");
    if (settings_.recorder != nullptr)
      settings_.recorder->spans().name_this_thread("loader " + std::to_string(number));
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock, [&] {
        const bool room = issued_ - consumed_ < depth_;
        return stopping_ || (room && !at_end(planned_));
      });
      if (stopping_) return;
      const int64_t ticket = issued_++;
      const int64_t generation = generation_;
      const GlobalBatch global = sampler_.next(planned_);
      planned_ = global.position_after;
      lock.unlock();
      const int64_t begin = now_ns();
      Outcome outcome = load(global);
      const int64_t spent = now_ns() - begin;
      lock.lock();
      counters_.load_ns += spent;
      if (generation != generation_) continue;
      if (settings_.prefetch == 0 && outcome.batch.bytes() <= small_batch_bytes) {
        small_batches_ = true;
        depth_ = std::max(depth_, depth_of_small_batches);
      }
      counters_.held_bytes += outcome.batch.bytes();
      slot(ticket) = std::move(outcome);
      arrived_.notify_one();
    }
  }

  void start_workers() {
    if (!threads_.empty()) return;
    const SignalsBlocked blocked;
    for (int64_t i = 0; i < settings_.workers; ++i) threads_.emplace_back([this, i] { work(i); });
  }

  void stop_workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    room_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    stopping_ = false;
  }

  const std::shared_ptr<const Dataset> dataset_;
  const Sampler sampler_;
  const TransformChain transforms_;
  const LoaderSettings settings_;
  telemetry::Section* const loading_;

  mutable std::mutex mutex_;
  std::condition_variable room_;     // a worker may plan another batch
  std::condition_variable arrived_;  // a batch is ready
  std::vector<Outcome> slots_;       // by ticket, modulo their number
  int64_t depth_ = 0;                // batches ahead, at most one a slot
  bool small_batches_ = false;
  int64_t issued_ = 0;    // tickets given to workers
  int64_t consumed_ = 0;  // tickets that next() took
  int64_t planned_;       // position of the next ticket
  int64_t generation_ = 0;
  bool stopping_ = false;
  LoaderCounters counters_;
  int64_t consumed_position_;  // written by the calling thread only
  std::vector<std::thread> threads_;
};

int64_t LoadedBatch::bytes() const {
  int64_t bytes = 0;
  for (const core::Batch& batch : micro_batches)
    for (const auto& field : batch.fields) bytes += static_cast<int64_t>(field.values.nbytes());
  return bytes;
}

Loader::Loader(std::shared_ptr<const Dataset> dataset, const Sampler& sampler,
               TransformChain transforms, LoaderSettings settings, int64_t position)
    : pipeline_(std::make_unique<Pipeline>(std::move(dataset), sampler, std::move(transforms),
                                           std::move(settings), position)) {}
Loader::~Loader() = default;
std::optional<LoadedBatch> Loader::next() {
  return pipeline_->next();
}
void Loader::restart(int64_t position) {
  pipeline_->restart(position);
}
int64_t Loader::position() const {
  return pipeline_->position();
}
int64_t Loader::micro_steps() const {
  return pipeline_->micro_steps();
}
const Sampler& Loader::sampler() const {
  return pipeline_->sampler();
}
LoaderCounters Loader::counters() const {
  return pipeline_->counters();
}

std::unique_ptr<Loader> evaluation_loader(std::shared_ptr<const Dataset> dataset,
                                          TransformChain transforms, LoaderSettings settings,
                                          uint64_t seed) {
  const Sampler sampler({.samples = dataset->size(),
                         .global_batch = settings.ranks * settings.batch_size,
                         .seed = seed,
                         .shuffle = false,
                         .last_batch = LastBatch::keep_short,
                         .allow_larger_batch = true});
  settings.end = dataset->size();
  return std::make_unique<Loader>(std::move(dataset), sampler, std::move(transforms),
                                  std::move(settings));
}

}  // namespace trireme::data
