#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::core {

/// A run of a flattened logical tensor (row-major): what one rank holds of it where flat buffers are cut over ranks.
struct Fragment {
  std::vector<int64_t> shape;  ///< of the logical tensor
  int64_t begin = 0;           ///< its first element; the tensor that holds it says how many there are
  bool saved = true;           ///< this rank saves it; of equal fragments on several ranks one does
};

/// A named leaf tensor of a model. Names follow the model's public naming (for gpt2 those of Hugging Face).
struct Parameter {
  std::string name;
  at::Tensor tensor;                  ///< whole, or one-dimensional and a part
  std::optional<Fragment> fragment{};  ///< nothing: whole

  /// Of the logical tensor.
  [[nodiscard]] at::IntArrayRef shape() const { return fragment ? at::IntArrayRef(fragment->shape) : tensor.sizes(); }
};

/// A model's parameters in the order of their first use in forward; a tied parameter is listed once.
using ParameterSet = std::vector<Parameter>;

/// Of the tensors that are held here.
[[nodiscard]] int64_t elements(const ParameterSet& parameters);
[[nodiscard]] std::vector<int64_t> elements_of_each(const ParameterSet& parameters);

}  // namespace trireme::core
