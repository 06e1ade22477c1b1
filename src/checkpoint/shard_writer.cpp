#include "checkpoint/shard_writer.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors_writer.h>

#include "checkpoint/names.h"

#include <cstring>
#include <iterator>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>

namespace trireme::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr int64_t cache_line = 64;

int64_t bytes_of(const at::Tensor& values) {
  return static_cast<int64_t>(values.nbytes());
}

storage::Hash128 hash_from(const Json& json) {
  return storage::Hash128::from_hex(json.get<std::string>()).value();
}

}  // namespace

int64_t shard_bytes(const Collected& state) {
  int64_t bytes = 0;
  for (const auto& one : state.shards) bytes += bytes_of(one.values);
  return bytes;
}

std::vector<std::vector<Piece>> place_replicated(const Collected& state,
                                                 std::span<const int64_t> shard_bytes_of_rank) {
  std::vector<Item> items;
  for (const auto& [name, values] : state.replicated)
    items.push_back({bytes_of(values), values.dim() > 0 ? values.size(0) : 1});
  return place(items, shard_bytes_of_rank, smallest_cut_bytes);
}

ShardWriter::ShardWriter(const Collected& state, std::span<const Piece> pieces) {
  const auto add_part = [this](Part part) {
    std::string entry = entry_name(part.tensor, part.box, part.shape);
    part.buffer_offset = bytes_;
    bytes_ += (bytes_of(part.values()) + cache_line - 1) / cache_line * cache_line;
    if (!part.source.is_cpu() && !of_device_) {
      of_device_ = true;
      complete_ = device::Mark::now(part.source.device());
    }
    check(parts_.emplace(std::move(entry), std::move(part)).second,
          "two parts of a checkpoint have one name");
  };
  for (const auto& one : state.shards)
    if (one.values.numel() > 0) add_part({one.name, one.shape, one.box, one.values, 0});
  for (const Piece& piece : pieces) {
    const auto& [name, values] =
        *std::next(state.replicated.begin(), static_cast<std::ptrdiff_t>(piece.item));
    core::Box box = core::Box::whole(values.sizes());
    if (!box.size.empty()) {
      box.offset[0] = piece.first_row;
      box.size[0] = piece.rows;
    }
    add_part({name, values.sizes(), std::move(box), values, piece.first_row});
  }
}

at::Tensor ShardWriter::Part::values() const {
  const bool some_rows = source.dim() > 0 && source.size(0) != box.size[0];
  return some_rows ? source.narrow(0, first_row, box.size[0]) : source;
}

void ShardWriter::copy(HostBuffer& buffer, const std::function<bool(const std::string&)>& which) {
  const c10::NoGradGuard no_grad;
  complete_.wait_on_host();
  std::byte* memory = buffer.reserve(bytes_, of_device_);
  for (auto& [entry, part] : parts_) {
    if (!which(part.tensor)) continue;
    const at::Tensor values = part.values();
    std::byte* place = memory + part.buffer_offset;
    const at::Tensor copied =
        at::from_blob(place, values.sizes(), at::TensorOptions(values.scalar_type()));
    // Not by LibTorch where it can be avoided: it would use threads that the step needs.
    if (values.is_cpu() && values.is_contiguous())
      std::memcpy(place, values.const_data_ptr(), values.nbytes());
    else
      copied.copy_(values);
    part.source = copied;
    part.first_row = 0;
  }
}

ShardWriter::Written ShardWriter::write(const std::filesystem::path& folder,
                                        const std::string& name,
                                        const std::map<std::string, std::string>& metadata,
                                        const std::atomic<bool>& cancelled) const {
  const c10::NoGradGuard no_grad;
  std::vector<storage::TensorSpec> specs;
  for (const auto& [entry, part] : parts_)
    specs.push_back({entry, part.source.scalar_type(), part.box.size});
  storage::SafetensorsWriter file(folder / name, specs, metadata);
  Written written;
  for (const storage::SafetensorsEntry& entry : file.entries()) {
    const Part& part = parts_.at(entry.name);
    if (cancelled.load(std::memory_order_relaxed)) throw given_up();
    const storage::Hash128 hash = file.write(part.values().cpu().contiguous());
    StoredTensor& tensor = written.tensors[part.tensor];
    tensor.dtype = entry.dtype;
    tensor.shape = part.shape.vec();
    tensor.boxes.push_back({part.box, 0, entry.name, hash});
  }
  file.finish();
  written.file = {name, file.bytes(), file.hash(), file.header_hash()};
  return written;
}

Error given_up() {
  return {ErrorKind::stopped, "the save was given up because the run ends"};
}

std::string to_text(const ShardWriter::Written& written) {
  Json tensors = Json::array();
  for (const auto& [name, tensor] : written.tensors)
    for (const StoredBox& box : tensor.boxes)
      tensors.push_back(Json::array({name, static_cast<int>(tensor.dtype), tensor.shape,
                                     box.box.offset, box.box.size, box.entry, box.hash.hex()}));
  return Json::array({written.file.name, written.file.bytes, written.file.hash.hex(),
                      written.file.header_hash.hex(), tensors})
      .dump();
}

void add(std::string_view written, Manifest& manifest) {
  const Json json = Json::parse(written);
  const size_t file = manifest.files.size();
  manifest.files.push_back({json.at(0), json.at(1), hash_from(json.at(2)), hash_from(json.at(3))});
  for (const Json& one : json.at(4)) {
    StoredTensor& tensor = manifest.tensors[one.at(0).get<std::string>()];
    tensor.dtype = static_cast<at::ScalarType>(one.at(1).get<int>());
    tensor.shape = one.at(2).get<std::vector<int64_t>>();
    tensor.boxes.push_back(
        {{one.at(3), one.at(4)}, file, one.at(5).get<std::string>(), hash_from(one.at(6))});
  }
}

}  // namespace trireme::checkpoint
