#pragma once

#include <trireme/core/state.h>
#include <trireme/storage/hash.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::checkpoint {

constexpr int manifest_schema = 1;
inline constexpr const char* manifest_name = "manifest.json";

/// A part of a logical tensor as it is stored.
struct StoredBox {
  core::Box box;
  size_t file = 0;    ///< index into Manifest::files
  std::string entry;  ///< its name in the file
  storage::Hash128 hash;
};

struct StoredTensor {
  at::ScalarType dtype = at::ScalarType::Float;
  std::vector<int64_t> shape;
  std::vector<StoredBox> boxes;  ///< cover the tensor, do not overlap; empty ones are left out
};

struct StoredFile {
  std::string name;
  int64_t bytes = 0;
  storage::Hash128 hash;
  storage::Hash128 header_hash;  ///< of the part that says what lies where
};

/// All there is to know of a checkpoint but the values of its tensors.
struct Manifest {
  int64_t step = 0;
  int64_t world_size = 1;  ///< ranks that wrote it
  std::string run_id;
  std::vector<StoredFile> files;
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, core::Scalar> scalars;
  nlohmann::json extras;
};

/// The text of the file: JSON whose last member is the hash of all before it.
[[nodiscard]] std::string to_text(const Manifest& manifest);

/// The inverse: checks the hash, then everything else. Error no_checkpoint that names `path` and
/// what is wrong.
[[nodiscard]] Manifest parse_manifest(std::string_view text, const std::filesystem::path& path);

/// Reads the manifest of a checkpoint. Error no_checkpoint if folder or file are missing or it does
/// not verify.
[[nodiscard]] Manifest read_manifest(const std::filesystem::path& checkpoint);

}  // namespace trireme::checkpoint
