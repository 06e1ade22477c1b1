#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::core {

/// A named leaf tensor of a model. Names follow the model's public naming (for gpt2 those of Hugging Face).
struct Parameter {
  std::string name;
  at::Tensor tensor;
};

/// A model's parameters in the order of their first use in forward; a tied parameter is listed once.
using ParameterSet = std::vector<Parameter>;

[[nodiscard]] int64_t elements(const ParameterSet& parameters);

}  // namespace trireme::core
