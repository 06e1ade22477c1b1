#pragma once

#include <trireme/storage/lazy_tensor.h>

#include <optional>
#include <string_view>
#include <vector>

namespace trireme::model {

/// fp32, bf16 or fp16.
[[nodiscard]] std::optional<at::ScalarType> weight_dtype(std::string_view name);

/// The same tensors with floating-point values converted to `dtype`, others as they are. Reading
/// one throws model_refused, naming it, if a finite value becomes infinite.
[[nodiscard]] std::vector<storage::LazyTensor> converted(std::vector<storage::LazyTensor> tensors,
                                                         at::ScalarType dtype);

}  // namespace trireme::model
