#pragma once

#include <trireme/core/parameters.h>

#include "debug/tensor_summary.h"

#include <string>

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

namespace trireme::debug {

/// "float32", "bfloat16", ...
[[nodiscard]] std::string dtype_name(at::ScalarType type);
/// {"shape", "dtype", "device"}; null for an undefined tensor.
[[nodiscard]] nlohmann::json described(const at::Tensor& tensor);
/// Adds elements, zeros (their share), nan, inf, norm, max_abs.
void add_size(nlohmann::json& to, const TensorSummary& summary);
/// Adds min, max, mean, std, nan, inf.
void add_values(nlohmann::json& to, const TensorSummary& summary);
/// {"parameter", and of a part of one: "fragment": [first element, elements]}: the numbers beside
/// it are then of the part that this rank holds.
[[nodiscard]] nlohmann::json named(const core::Parameter& parameter);
/// Where ranks hold parts of parameters a digest says so: under "of", and under "copy" where other
/// ranks hold the same parts and save them.
void name_part(nlohmann::json& digest, const core::ParameterSet& parameters);
/// "12 NaN and 3 Inf of 4096"
[[nodiscard]] std::string not_finite(const TensorSummary& summary);

}  // namespace trireme::debug
