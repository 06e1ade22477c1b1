#include <trireme/checkpoint/manifest.h>
#include <trireme/core/error.h>
#include <trireme/storage/file_reader.h>
#include <trireme/storage/safetensors.h>

#include "checkpoint/boxes.h"
#include "checkpoint/names.h"
#include "checkpoint/scalar_json.h"

#include <limits>
#include <set>
#include <stdexcept>

#include <fmt/core.h>

namespace trireme::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr int deepest = 64;  // of objects and arrays: some code that walks JSON is recursive
constexpr size_t most_dimensions = 64;
constexpr std::string_view hash_key = ",\n\"hash\": \"";
constexpr std::string_view end_of_text = "\"\n}\n";
constexpr size_t hash_digits = 32;

// What is wrong with a manifest; read_manifest adds where it lies.
using Refused = std::invalid_argument;

Json json_of(const StoredTensor& tensor) {
  Json boxes = Json::array();
  for (const StoredBox& box : tensor.boxes)
    boxes.push_back({{"offset", box.box.offset},
                     {"size", box.box.size},
                     {"file", box.file},
                     {"entry", box.entry},
                     {"hash", box.hash.hex()}});
  return {{"dtype", storage::safetensors_dtype(tensor.dtype)},
          {"shape", tensor.shape},
          {"boxes", boxes}};
}

Json json_of(const StoredFile& file) {
  return {{"name", file.name},
          {"bytes", file.bytes},
          {"hash", file.hash.hex()},
          {"header_hash", file.header_hash.hex()}};
}

int64_t as_count(const Json& value, const char* key) {
  if (!value.is_number_unsigned() ||
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    throw Refused(fmt::format("'{}' is no count", key));
  return value.get<int64_t>();
}

int64_t count(const Json& json, const char* key) {
  return as_count(json.at(key), key);
}

std::vector<int64_t> counts(const Json& json, const char* key) {
  const Json& values = json.at(key);
  if (!values.is_array() || values.size() > most_dimensions)
    throw Refused(fmt::format("'{}' is no list of sizes", key));
  std::vector<int64_t> result;
  for (const Json& value : values) result.push_back(as_count(value, key));
  return result;
}

storage::Hash128 hash(const Json& json, const char* key) {
  const auto parsed = storage::Hash128::from_hex(json.at(key).get<std::string>());
  if (!parsed) throw Refused(fmt::format("'{}' is no hash", key));
  return *parsed;
}

std::vector<StoredFile> files_from(const Json& json) {
  std::vector<StoredFile> files;
  std::set<std::string> names;
  for (const Json& one : json) {
    StoredFile file{one.at("name").get<std::string>(), count(one, "bytes"), hash(one, "hash"),
                    hash(one, "header_hash")};
    if (!is_shard(file.name) || file.name.find('/') != std::string::npos)
      throw Refused(fmt::format("'{}' is no name of a shard", file.name));
    if (!names.insert(file.name).second) throw Refused(file.name + " is listed twice");
    files.push_back(std::move(file));
  }
  return files;
}

StoredTensor tensor_from(const Json& json, size_t files) {
  StoredTensor tensor;
  const auto dtype = storage::scalar_type_of(json.at("dtype").get<std::string>());
  if (!dtype) throw Refused("has an unknown dtype");
  tensor.dtype = *dtype;
  tensor.shape = counts(json, "shape");
  if (!elements_of(tensor.shape)) throw Refused("has a shape that is too large");
  std::vector<core::Box> boxes;
  for (const Json& one : json.at("boxes")) {
    const int64_t file = count(one, "file");
    if (static_cast<size_t>(file) >= files) throw Refused("is in a file that is not listed");
    StoredBox box{{counts(one, "offset"), counts(one, "size")},
                  static_cast<size_t>(file),
                  one.at("entry").get<std::string>(),
                  hash(one, "hash")};
    if (!inside(box.box, tensor.shape))
      throw Refused(fmt::format("has the box {} outside its shape", to_text(box.box)));
    if (box.box.elements() == 0) throw Refused("has an empty box");
    boxes.push_back(box.box);
    tensor.boxes.push_back(std::move(box));
  }
  if (const std::string problem = coverage_problem(tensor.shape, boxes); !problem.empty())
    throw Refused(problem);
  return tensor;
}

Json parse_bounded(std::string_view text) {
  return Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
    if (depth > deepest) throw Refused("it is nested too deep");
    return true;
  });
}

/// The text less its hash, which is checked.
void check_hash(std::string_view text) {
  const size_t tail = hash_key.size() + hash_digits + end_of_text.size();
  if (text.size() < tail) throw Refused("it ends too early");
  const std::string_view body = text.substr(0, text.size() - tail);
  const std::string_view end = text.substr(body.size());
  if (!end.starts_with(hash_key) || !end.ends_with(end_of_text))
    throw Refused("it does not end with its hash");
  if (end.substr(hash_key.size(), hash_digits) != storage::hash_of(body).hex())
    throw Refused("its contents do not match its hash");
}

Manifest manifest_from(const Json& json) {
  if (const int64_t schema = count(json, "schema"); schema != manifest_schema)
    throw Refused(fmt::format("it has schema {}, this version reads {}", schema, manifest_schema));
  Manifest manifest;
  manifest.step = count(json, "step");
  manifest.world_size = count(json, "world_size");
  manifest.run_id = json.at("run_id").get<std::string>();
  manifest.extras = json.at("extras");
  manifest.files = files_from(json.at("files"));
  for (const auto& [name, value] : json.at("scalars").items())
    manifest.scalars.emplace(name, scalar_from(value));
  for (const auto& [name, value] : json.at("tensors").items()) {
    try {
      manifest.tensors.emplace(name, tensor_from(value, manifest.files.size()));
    } catch (const Refused& refused) {
      throw Refused(fmt::format("tensor '{}': {}", name, refused.what()));
    }
  }
  return manifest;
}

}  // namespace

std::string to_text(const Manifest& manifest) {
  // One line for each file and tensor.
  std::string text = fmt::format(
      "{{\n\"schema\": {},\n\"step\": {},\n\"world_size\": {},\n\"run_id\": {},\n", manifest_schema,
      manifest.step, manifest.world_size, Json(manifest.run_id).dump());
  text += fmt::format("\"extras\": {},\n\"scalars\": {{", manifest.extras.dump());
  const char* separator = "\n";
  for (const auto& [name, value] : manifest.scalars) {
    text += fmt::format("{}{}: {}", separator, Json(name).dump(), to_json(value).dump());
    separator = ",\n";
  }
  text += "},\n\"files\": [";
  separator = "\n";
  for (const StoredFile& file : manifest.files) {
    text += separator + json_of(file).dump();
    separator = ",\n";
  }
  text += "],\n\"tensors\": {";
  separator = "\n";
  for (const auto& [name, tensor] : manifest.tensors) {
    text += fmt::format("{}{}: {}", separator, Json(name).dump(), json_of(tensor).dump());
    separator = ",\n";
  }
  text += "}";
  return text + fmt::format("{}{}{}", hash_key, storage::hash_of(text).hex(), end_of_text);
}

Manifest parse_manifest(std::string_view text, const std::filesystem::path& path) {
  std::string reason;
  try {
    check_hash(text);
    return manifest_from(parse_bounded(text));
  } catch (const Refused& refused) {
    reason = refused.what();
  } catch (const Json::exception& error) {
    reason = error.what();
  }
  throw Error(ErrorKind::no_checkpoint, fmt::format("{}: not valid: {}", path.native(), reason),
              "use another checkpoint, or restore this one from a copy");
}

Manifest read_manifest(const std::filesystem::path& checkpoint) {
  std::error_code error;
  if (!std::filesystem::is_directory(checkpoint, error))
    throw Error(ErrorKind::no_checkpoint,
                fmt::format("{}: there is no such checkpoint", checkpoint.native()),
                "name a folder step-... that holds a manifest.json");
  const std::filesystem::path path = checkpoint / manifest_name;
  const auto type = std::filesystem::status(path, error).type();
  if (type != std::filesystem::file_type::regular && type != std::filesystem::file_type::none)
    throw Error(ErrorKind::no_checkpoint, fmt::format("{}: there is no manifest", path.native()),
                "the folder is no checkpoint, or is one that was not completed; use another");
  return parse_manifest(storage::FileReader(path).text(), path);
}

}  // namespace trireme::checkpoint
