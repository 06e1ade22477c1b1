#include "storage/safetensors_layout.h"

#include <trireme/core/error.h>

#include "storage/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include <c10/core/ScalarType.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace trireme::storage {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::model_refused, what, "rename or convert the tensor");
}

SafetensorsEntry entry_of(const TensorSpec& tensor) {
  if (safetensors_dtype(tensor.dtype).empty())
    refuse(fmt::format("tensor '{}': the safetensors format has no type for {}", tensor.name,
                       c10::toString(tensor.dtype)));
  if (tensor.name == "__metadata__") refuse("a tensor must not be called __metadata__");
  auto bytes = static_cast<int64_t>(c10::elementSize(tensor.dtype));
  for (const int64_t size : tensor.shape) bytes *= size;
  return {tensor.name, tensor.dtype, tensor.shape, 0, bytes};
}

std::string header_json(const std::vector<SafetensorsEntry>& entries,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json root;
  root["__metadata__"] = metadata;
  root["__metadata__"]["format"] = "pt";  // transformers refuses files without it
  for (const SafetensorsEntry& entry : entries)
    root[entry.name] = {{"dtype", safetensors_dtype(entry.dtype)},
                        {"shape", entry.shape},
                        {"data_offsets", {entry.begin, entry.end}}};
  return root.dump();
}

}  // namespace

SafetensorsWriter::Layout SafetensorsWriter::Layout::plan(
    const std::vector<TensorSpec>& tensors, const std::map<std::string, std::string>& metadata) {
  Layout layout;
  for (const TensorSpec& tensor : tensors) layout.entries.push_back(entry_of(tensor));
  std::sort(layout.entries.begin(), layout.entries.end(), [](const auto& a, const auto& b) {
    return std::make_tuple(-static_cast<int64_t>(c10::elementSize(a.dtype)), a.name) <
           std::make_tuple(-static_cast<int64_t>(c10::elementSize(b.dtype)), b.name);
  });
  std::map<std::string_view, int> seen;
  for (SafetensorsEntry& entry : layout.entries) {
    if (++seen[entry.name] > 1) refuse(fmt::format("tensor '{}' is given twice", entry.name));
    entry.begin = layout.data_bytes;
    entry.end += layout.data_bytes;
    layout.data_bytes = entry.end;
  }
  try {
    layout.header = header_json(layout.entries, metadata);
  } catch (const nlohmann::json::exception&) {
    refuse("a name of a tensor or of its metadata is not UTF-8");
  }
  layout.header.append((8 - layout.header.size() % 8) % 8, ' ');
  const uint64_t length = layout.header.size();
  if (length > largest_safetensors_header)
    refuse(fmt::format("the {} tensors need a header of {} bytes", tensors.size(), length));
  layout.header.insert(0, reinterpret_cast<const char*>(&length), sizeof(length));
  return layout;
}

}  // namespace trireme::storage
