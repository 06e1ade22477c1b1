#pragma once

#include <cstdint>

namespace trireme::data {

/// What becomes of the samples that do not fill the last global batch of an epoch.
enum class LastBatch { keep_short, drop };

/// Sample `k` of epoch `epoch`: a bijection on [0, samples) for every (seed, epoch), computed in
/// constant memory.
[[nodiscard]] int64_t permute(uint64_t seed, int64_t epoch, int64_t k, int64_t samples);

/// One global batch: `count` samples from position `first` of the order of `epoch`.
struct GlobalBatch {
  int64_t epoch = 0;
  int64_t first = 0;
  int64_t count = 0;
  int64_t position = 0;        ///< the run's global sample count before this batch
  int64_t position_after = 0;  ///< and after it: where a resume continues
  bool operator==(const GlobalBatch&) const = default;
};

/// A contiguous run of positions within a global batch.
struct SampleRun {
  int64_t first = 0;
  int64_t count = 0;
  bool operator==(const SampleRun&) const = default;
};

/// Micro-step m of rank r of W ranks with B samples each takes [(m*W + r)*B, +B) of a global batch
/// of `count` samples, cut at its end and possibly empty. So the samples of a global batch, and
/// their order, do not depend on W and B.
[[nodiscard]] SampleRun micro_run(int64_t count, int64_t micro_step, int64_t rank, int64_t ranks,
                                  int64_t batch_size);

/// Micro-steps that W ranks with B samples each need for a global batch of G samples.
[[nodiscard]] int64_t micro_steps(int64_t global_batch, int64_t ranks, int64_t batch_size);

/// The order of a run's samples as a function of one number, the count of samples the run has
/// consumed.
class Sampler {
 public:
  struct Settings {
    int64_t samples = 0;  ///< size of the data set
    int64_t global_batch = 1;
    uint64_t seed = 0;
    bool shuffle = true;
    LastBatch last_batch = LastBatch::keep_short;
    /// Evaluation takes what there is; training with a global batch above the data set is a
    /// configuration Error.
    bool allow_larger_batch = false;
  };
  explicit Sampler(const Settings& settings);

  /// The global batch that starts at `position` (>= 0; any number: a resume with another batch size
  /// lands between).
  [[nodiscard]] GlobalBatch next(int64_t position) const;
  /// The sample id at position k of the epoch's order. Costs a key schedule: for whole batches use
  /// `ids`.
  [[nodiscard]] int64_t sample(int64_t epoch, int64_t k) const;
  /// Writes the ids of `run` of `batch` to `out`, which has room for run.count.
  void ids(const GlobalBatch& batch, const SampleRun& run, int64_t* out) const;

  /// Samples that one epoch consumes: all, or with `drop` the largest multiple of the global batch.
  [[nodiscard]] int64_t samples_per_epoch() const { return epoch_samples_; }
  [[nodiscard]] int64_t steps_per_epoch() const;
  /// Optimizer steps from the start of the run to the end of `epochs` epochs.
  [[nodiscard]] int64_t steps_of_epochs(int64_t epochs) const;
  /// Epochs, with fraction, that `steps` steps from the start of the run consume.
  [[nodiscard]] double epochs_of_steps(int64_t steps) const;
  /// The position before step `step` of a run that started at 0, and back (of a position between
  /// two steps: the step that covers it).
  [[nodiscard]] int64_t position_of_step(int64_t step) const;
  [[nodiscard]] int64_t step_of_position(int64_t position) const;

  [[nodiscard]] const Settings& settings() const { return settings_; }

 private:
  Settings settings_;
  int64_t epoch_samples_ = 0;
};

}  // namespace trireme::data
