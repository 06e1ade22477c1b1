#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <trireme/core/random.h>

#include <ATen/core/Tensor.h>

namespace trireme::core {

/// One micro-batch of one rank. Every field's first dimension is the number of samples of this rank, which may be 0 on the
/// last batch of an epoch and need not be equal on all ranks.
struct Batch {
  struct Field {
    std::string name;
    at::Tensor values;
  };
  std::vector<Field> fields;
  /// Global sample ids in the order of the first dimension: what errors name and what sample-wise randomness is keyed by.
  std::vector<int64_t> samples;
  /// Key of the randomness of this global batch, the same on all ranks and micro-steps: fold in the sample, and the draws do
  /// not depend on which rank or micro-step has it.
  RandomKey random;
  /// Int64 [samples], where the fields are: `random` with each sample folded in. Undefined on the host, where whoever needs it
  /// makes it.
  at::Tensor keys;

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(samples.size()); }
  /// The field's tensor; an Error of kind `configuration` that lists the fields there are if it is absent.
  [[nodiscard]] const at::Tensor& at(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
};

}  // namespace trireme::core

namespace trireme {
using core::Batch;
}
