#pragma once

#include <trireme/core/batch.h>
#include <trireme/core/random.h>
#include <trireme/data/config.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace trireme::data {

/// A change of the field `image` [B, C, H, W] of a batch. Immutable and called from several
/// threads. What it does to a sample depends on the sample's own key only, not on the batch, worker
/// or rank that the sample comes with.
class Transform {
 public:
  virtual ~Transform();
  /// `keys[i]` is the key of the batch's sample i. Errors name the samples.
  virtual void apply(core::Batch& batch, const std::vector<core::RandomKey>& keys) const = 0;
  /// Random transforms are left out of evaluations.
  [[nodiscard]] virtual bool random() const = 0;
};

/// The transforms of a configuration, in order. Errors of kind configuration name the key.
class TransformChain {
 public:
  TransformChain() = default;
  TransformChain(const std::vector<TransformConfig>& config, bool training);
  /// Applies all of them; sample s of epoch e draws from key (seed, "transform", e, s).
  void apply(core::Batch& batch, uint64_t seed, int64_t epoch) const;
  [[nodiscard]] bool empty() const { return transforms_.empty(); }

 private:
  std::vector<std::shared_ptr<const Transform>> transforms_;
};

}  // namespace trireme::data
