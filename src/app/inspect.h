#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include <trireme/core/state.h>

namespace trireme::app {

/// "[2, 3]"
[[nodiscard]] std::string shape_text(const std::vector<int64_t>& shape);
[[nodiscard]] std::string scalar_text(const core::Scalar& value);
/// Numbers that are not finite become null.
[[nodiscard]] nlohmann::json scalar_json(const core::Scalar& value);

/// The tree of a checkpoint's tensors, its scalars, and where it comes from; with `norms` it is all read.
struct CheckpointView {
  bool norms = false;
  bool json = false;
};
[[nodiscard]] nlohmann::json checkpoint_json(const std::filesystem::path& checkpoint, const CheckpointView& view);
void print_checkpoint(const std::filesystem::path& checkpoint, const CheckpointView& view);

/// Reads every byte of a checkpoint; throws for the first damage.
void verify_checkpoint(const std::filesystem::path& checkpoint, bool json);

/// Compares two checkpoints, or the newest valid ones of folders; returns the exit code: 0 if they are equal, else 1.
[[nodiscard]] int inspect_difference(const std::filesystem::path& first, const std::filesystem::path& second, bool json);

}  // namespace trireme::app
