#pragma once

#include <trireme/autograd/saved_tensors.h>
#include <trireme/core/parameters.h>

#include <cstdint>
#include <memory>

namespace trireme::autograd {

/// How saved activations wait for backward.
enum class ActivationForm {
  bf16,  ///< float32 rounded to bfloat16: half the memory, a relative error of at most 2^-9 each
  int8,  ///< float32 in 8 bits with a scale for each 256 neighbours: a quarter, an error of at most
         ///< 1/254 of the largest of them; neighbours of what is not finite become NaN
  host,  ///< a copy in host memory, exact; tensors on the CPU are there already and are not copied
};

/// Saves activations in another form; a tensor that several operations save is stored once. Left as
/// they are: leaves that require grad, their views, whatever shares memory with `kept` (frozen
/// parameters, buffers), tensors below 1024 elements, and, in the forms that round, all but float32
/// and what needs no gradient itself and has fewer than four dimensions (statistics of rows, such
/// as a log-sum-exp, whose errors backward would amplify).
///
/// Open its SavedTensorScope around the units but not around the loss: the logits should not be
/// rounded. Inputs of regions that are recomputed inside the scope are stored here, too. Any thread
/// may save and restore. Copies to and from the host are waited for.
class ActivationStorage final : public SavedTensorProvider {
 public:
  explicit ActivationStorage(ActivationForm form, const core::ParameterSet& kept = {});
  ~ActivationStorage() override;
  ActivationStorage(const ActivationStorage&) = delete;
  ActivationStorage& operator=(const ActivationStorage&) = delete;

  /// What it makes may outlive the storage.
  std::unique_ptr<SavedTensor> make() override;

  /// Of the activations that are in another form at this moment.
  [[nodiscard]] int64_t stored_tensors() const;
  [[nodiscard]] int64_t stored_bytes() const;

 private:
  class Shelf;
  class Stored;
  class Activation;
  std::shared_ptr<Shelf> shelf_;
};

}  // namespace trireme::autograd
