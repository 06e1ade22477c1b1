#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <trireme/autograd/unit.h>
#include <trireme/core/batch.h>

namespace trireme::model {

/// What one micro-batch contributes. Sums, never means: weights of all ranks and micro-batches are added before anything
/// is divided, so every layout gives the same update.
struct LossSums {
  at::Tensor loss_sum;  ///< 0-dim float32 with grad: the sum of the losses of what `weight` counts
  /// 0-dim float64: how many tokens (samples, pixels, ...) the sum counts; may be 0. Where the loss is; elsewhere it costs a copy
  /// that cannot be repeated (see Model::repeatable).
  at::Tensor weight;
  /// More sums to report divided by the weight, e.g. {"accuracy", correct}: 0-dim float64 without grad.
  std::vector<std::pair<std::string, at::Tensor>> metrics;
};

/// A model that Trireme trains. Built on one rank's device; every rank holds an equal one.
class Model {
 public:
  virtual ~Model();

  /// Forward and loss of a micro-batch (which may be empty: weight 0 and a loss_sum that still reaches all parameters).
  virtual LossSums loss(const core::Batch& batch) = 0;

  /// The units in the order of their first use; together they hold all parameters and buffers.
  [[nodiscard]] virtual std::vector<autograd::Unit*> units() = 0;

  /// How many units the loss counts in one full sample (tokens of a sequence: T; images: 1): the nominal weight.
  [[nodiscard]] virtual double nominal_weight_per_sample() const = 0;
  /// What throughput is reported in besides samples: tokens of one sample, 0 if the model has none.
  [[nodiscard]] virtual int64_t tokens_per_sample() const { return 0; }

  /// Floating-point operations that forward and backward of one sample (of so many tokens, for models that have some) need, in matrix products, convolutions and attention
  /// alone: what model FLOPs utilisation counts (Chowdhery et al. 2022, appendix B), so without recomputation. 0: not known.
  [[nodiscard]] virtual double flops_per_sample(int64_t /*tokens*/) const { return 0; }

  /// Whether its units heed BuildContext::fp8.
  [[nodiscard]] virtual bool supports_fp8() const { return false; }
  /// Whether its units have autograd::cheap_part's.
  [[nodiscard]] virtual bool marks_cheap_parts() const { return false; }

  /// Checks the values of a batch on the host, before it is copied to a device, where loss() does not look at them: Error
  /// `data_damaged`. On a CPU loss() does it.
  virtual void check_batch(const core::Batch& batch) const;
  /// Whether loss() may be recorded once and repeated on other values of the same shapes: its host code depends on shapes
  /// alone, and of a batch it takes the tensors and the keys, not `samples` or `random`.
  [[nodiscard]] virtual bool repeatable() const { return false; }

  /// Checks that data of these properties can be fed; throws kind `configuration` with both sides named (e.g. vocabularies).
  virtual void check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const;

  /// Builds one unit after the other; `built` is called after each, which may take its memory away before the next is built.
  void build(const autograd::BuildContext& context, const std::function<void(autograd::Unit&)>& built = {});
  [[nodiscard]] core::ParameterSet parameters();
  [[nodiscard]] core::ParameterSet buffers();
  void set_training(bool on);
};

/// A model that continues token sequences.
class LanguageModel {
 public:
  virtual ~LanguageModel();
  [[nodiscard]] virtual int64_t context_length() const = 0;
  [[nodiscard]] virtual int64_t vocabulary() const = 0;
  /// tokens_BT (int64) to the logits of the last position, [B, vocabulary], float32.
  [[nodiscard]] virtual at::Tensor next_logits(const at::Tensor& tokens_BT) = 0;
};

}  // namespace trireme::model
