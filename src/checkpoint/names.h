#pragma once

#include <trireme/core/state.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::checkpoint {

/// step-00001200
[[nodiscard]] std::string folder_name(int64_t step);
/// Its inverse; nothing for any other name.
[[nodiscard]] std::optional<int64_t> step_of(std::string_view folder_name);

/// step-00001200.tmp-<run id>: being written, or being deleted.
[[nodiscard]] std::string unfinished_name(int64_t step, std::string_view run_id);
[[nodiscard]] bool is_unfinished(std::string_view folder_name);

/// shard-00003-of-00008.safetensors
[[nodiscard]] std::string shard_name(int64_t rank, int64_t ranks);
[[nodiscard]] bool is_shard(std::string_view file_name);

/// What a box is called inside a shard: the tensor's name, with "[offset:size,...]" unless it is
/// the whole tensor.
[[nodiscard]] std::string entry_name(const std::string& tensor, const core::Box& box,
                                     at::IntArrayRef shape);

}  // namespace trireme::checkpoint
