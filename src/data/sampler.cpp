#include <trireme/core/error.h>
#include <trireme/data/sampler.h>

#include "data/permutation.h"

#include <algorithm>

#include <fmt/core.h>

namespace trireme::data {

int64_t permute(uint64_t seed, int64_t epoch, int64_t k, int64_t samples) {
  return Permutation(seed, epoch, samples)(k);
}

SampleRun micro_run(int64_t count, int64_t micro_step, int64_t rank, int64_t ranks,
                    int64_t batch_size) {
  const int64_t begin = std::min(count, (micro_step * ranks + rank) * batch_size);
  return {begin, std::min(count - begin, batch_size)};
}

int64_t micro_steps(int64_t global_batch, int64_t ranks, int64_t batch_size) {
  const int64_t per_step = ranks * batch_size;
  check(per_step > 0, "ranks and batch size must be positive");
  return (global_batch + per_step - 1) / per_step;
}

Sampler::Sampler(const Settings& settings) : settings_(settings) {
  const auto [n, global] = std::pair(settings.samples, settings.global_batch);
  if (n <= 0)
    throw Error(ErrorKind::configuration, "the data set has no samples",
                "check data.train, data.eval and data.sequence_length");
  if (global <= 0)
    throw Error(ErrorKind::configuration,
                fmt::format("the global batch is {}, it must be at least 1", global),
                "set train.batch_size and train.accumulate, or train.global_batch");
  if (global > n && !settings.allow_larger_batch)
    throw Error(ErrorKind::configuration,
                fmt::format("the global batch of {} samples is larger than the data set of {} "
                            "samples",
                            global, n),
                fmt::format("use a global batch of at most {} (train.batch_size, train.accumulate, "
                            "number of ranks), or more data",
                            n));
  const bool drop = settings.last_batch == LastBatch::drop && global <= n;
  epoch_samples_ = drop ? n / global * global : n;
}

GlobalBatch Sampler::next(int64_t position) const {
  check(position >= 0, "a position is a count of samples");
  GlobalBatch batch;
  batch.epoch = position / epoch_samples_;
  batch.first = position % epoch_samples_;
  batch.count = std::min(settings_.global_batch, epoch_samples_ - batch.first);
  batch.position = position;
  batch.position_after = position + batch.count;
  return batch;
}

int64_t Sampler::sample(int64_t epoch, int64_t k) const {
  check(k >= 0 && k < settings_.samples, "position outside of the epoch");
  return settings_.shuffle ? permute(settings_.seed, epoch, k, settings_.samples) : k;
}

void Sampler::ids(const GlobalBatch& batch, const SampleRun& run, int64_t* out) const {
  const int64_t begin = batch.first + run.first;
  check(run.count >= 0 && begin + run.count <= settings_.samples, "run outside of the epoch");
  if (!settings_.shuffle) {
    for (int64_t i = 0; i < run.count; ++i) out[i] = begin + i;
    return;
  }
  const Permutation order(settings_.seed, batch.epoch, settings_.samples);
  for (int64_t i = 0; i < run.count; ++i) out[i] = order(begin + i);
}

int64_t Sampler::steps_per_epoch() const {
  return (epoch_samples_ + settings_.global_batch - 1) / settings_.global_batch;
}

int64_t Sampler::steps_of_epochs(int64_t epochs) const {
  return epochs * steps_per_epoch();
}

double Sampler::epochs_of_steps(int64_t steps) const {
  return static_cast<double>(position_of_step(steps)) / static_cast<double>(epoch_samples_);
}

int64_t Sampler::position_of_step(int64_t step) const {
  const int64_t per_epoch = steps_per_epoch();
  return step / per_epoch * epoch_samples_ + step % per_epoch * settings_.global_batch;
}

int64_t Sampler::step_of_position(int64_t position) const {
  return position / epoch_samples_ * steps_per_epoch() +
         position % epoch_samples_ / settings_.global_batch;
}

}  // namespace trireme::data
