#pragma once

#include <trireme/checkpoint/manifest.h>
#include <trireme/storage/lazy_tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace trireme::checkpoint {

/// Writes a checkpoint of step 0 that holds these tensors (by their names in the checkpoint) and
/// scalars, one tensor in memory at a time, as one shard. `checkpoint` does not exist yet; on
/// return its contents are durable, its own name is not. Errors as FileWriter; what was written
/// until then is the caller's to remove.
void write_weights(const std::filesystem::path& checkpoint,
                   const std::vector<storage::LazyTensor>& tensors,
                   const std::map<std::string, core::Scalar>& scalars,
                   const nlohmann::json& extras);

}  // namespace trireme::checkpoint
