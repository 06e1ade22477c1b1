#pragma once

#include <trireme/core/batch.h>
#include <trireme/data/dataset.h>
#include <trireme/data/sampler.h>
#include <trireme/data/transforms.h>
#include <trireme/telemetry/recorder.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace trireme::data {

struct LoaderSettings {
  int64_t rank = 0;
  int64_t ranks = 1;
  int64_t batch_size = 1;  ///< samples of one rank and micro-step
  int64_t workers = 2;     ///< threads; 0: next() loads
  /// Global batches loaded ahead; 0: twice the workers, at least 2, and 8 of batches below 1 MiB.
  int64_t prefetch = 0;
  bool persistent_workers = true;  ///< false: the threads end with the pass
  /// The pass ends at this position; nothing: it never ends.
  std::optional<int64_t> end;
  /// Called in the loading thread for each tensor of a finished micro-batch, e.g. to copy it to
  /// page-locked memory.
  std::function<at::Tensor(const at::Tensor&)> place;
  /// Gets a section with a call for each batch that is loaded. Must outlive the loader; null: none.
  telemetry::Recorder* recorder = nullptr;
  std::string section = "load_batch";
};

/// What this rank does of one global batch. Every rank gets the same number of micro-batches, the
/// last ones possibly empty.
struct LoadedBatch {
  GlobalBatch global;
  std::vector<core::Batch> micro_batches;
  /// Of all tensors in it.
  [[nodiscard]] int64_t bytes() const;
};

struct LoaderCounters {
  int64_t batches = 0;  ///< handed out by next()
  int64_t samples = 0;  ///< of this rank
  int64_t bytes = 0;    ///< of their tensors
  int64_t wait_ns = 0;  ///< spent in next()
  int64_t load_ns = 0;  ///< spent loading, over all threads
  int64_t ready = 0;    ///< batches that were ready when next() was last called
  int64_t held_bytes = 0;  ///< of the tensors of batches that are ready now
};

/// Reads this rank's share of the global batches ahead of time. What next() returns depends on the
/// position only, not on the number of workers. One thread calls next() and restart().
class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, const Sampler& sampler, TransformChain transforms,
         LoaderSettings settings, int64_t position = 0);
  ~Loader();  // waits for the batches being read, not for those planned
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next global batch's micro-batches, or nothing at the end of the pass. An exception of a
  /// worker is thrown here in its place in the order; the call after it goes on with the batch that
  /// follows.
  [[nodiscard]] std::optional<LoadedBatch> next();
  /// Begins another pass at `position`; batches loaded ahead are dropped.
  void restart(int64_t position);
  /// The global sample count up to which batches were handed out: what a checkpoint holds.
  [[nodiscard]] int64_t position() const;
  [[nodiscard]] int64_t micro_steps() const;
  [[nodiscard]] const Sampler& sampler() const;
  [[nodiscard]] LoaderCounters counters() const;

 private:
  class Pipeline;
  std::unique_ptr<Pipeline> pipeline_;
};

/// A loader of one pass over all samples in their order, each exactly once over all ranks, one
/// micro-batch a batch. `restart(0)` begins the next pass. Random transforms must have been left
/// out of `transforms`.
[[nodiscard]] std::unique_ptr<Loader> evaluation_loader(std::shared_ptr<const Dataset> dataset,
                                                        TransformChain transforms,
                                                        LoaderSettings settings, uint64_t seed = 0);

}  // namespace trireme::data
