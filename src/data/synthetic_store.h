#pragma once

#include "data/store.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::data {

/// Samples computed from their number, for tests, benchmarks and dry runs:
///   synthetic:tokens?n=1000&vocab=64&length=32&seed=1   sequences that count up modulo the
///   vocabulary in steps of 1 to 3 synthetic:image?n=1000&classes=10&channels=1&size=28&seed=1   a
///   pattern of the class under noise, with `label`
/// Both can be learned. `sequence_length`, if given, replaces `length`. Unknown kinds and keys are
/// Errors of kind configuration.
[[nodiscard]] std::unique_ptr<const SampleStore> make_synthetic(
    const std::string& name, std::optional<int64_t> sequence_length);

[[nodiscard]] bool is_synthetic(std::string_view name);

}  // namespace trireme::data
