#include "checkpoint/weights_writer.h"

#include <trireme/storage/durable.h>
#include <trireme/storage/file_writer.h>
#include <trireme/storage/safetensors_writer.h>

#include "checkpoint/names.h"

#include <unordered_map>

namespace trireme::checkpoint {
namespace {

constexpr const char* run_id = "convert";

}  // namespace

void write_weights(const std::filesystem::path& checkpoint,
                   const std::vector<storage::LazyTensor>& tensors,
                   const std::map<std::string, core::Scalar>& scalars,
                   const nlohmann::json& extras) {
  storage::make_directories(checkpoint);
  Manifest manifest;
  manifest.run_id = run_id;
  manifest.scalars = scalars;
  manifest.extras = extras;
  std::vector<storage::TensorSpec> stored;
  std::unordered_map<std::string_view, const storage::LazyTensor*> by_name;
  for (const storage::LazyTensor& one : tensors) {
    manifest.tensors[one.name] = {one.dtype, one.shape, {}};
    if (core::Box::whole(one.shape).elements() == 0) continue;  // those are in no file
    stored.push_back(one);
    by_name.emplace(one.name, &one);
  }
  const std::string shard = shard_name(0, 1);
  storage::SafetensorsWriter file(
      checkpoint / shard, stored,
      {{"trireme.step", "0"}, {"trireme.run_id", run_id}, {"trireme.rank", "0"}});
  for (const storage::SafetensorsEntry& entry : file.entries()) {
    const storage::Hash128 hash = file.write(by_name.at(entry.name)->values());
    manifest.tensors[entry.name].boxes.push_back(
        {core::Box::whole(entry.shape), 0, entry.name, hash});
  }
  file.finish();
  manifest.files.push_back({shard, file.bytes(), file.hash(), file.header_hash()});

  const std::string text = to_text(manifest);
  storage::FileWriter manifest_file(checkpoint / manifest_name, static_cast<int64_t>(text.size()));
  manifest_file.write(text);
  manifest_file.finish();
  storage::sync_directory(checkpoint);
}

}  // namespace trireme::checkpoint
