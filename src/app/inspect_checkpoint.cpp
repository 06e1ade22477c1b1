#include <algorithm>
#include <chrono>
#include <cmath>

#include <c10/core/ScalarType.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/headeronly/version.h>

#include "app/inspect.h"
#include "checkpoint/summary.h"

#include <trireme/checkpoint/reader.h>
#include <trireme/storage/safetensors.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Who wrote it.
struct Provenance {
  std::string trireme, libtorch, attempt, data;
  bool weights_only = false;

  explicit Provenance(const checkpoint::Manifest& manifest)
      : trireme(manifest.extras.value("trireme", "")),
        libtorch(manifest.extras.value("libtorch", "")),
        // The run id of attempt 3 is "a3".
        attempt(manifest.run_id.starts_with("a") ? manifest.run_id.substr(1) : manifest.run_id),
        data(manifest.extras.value("data", "")),
        weights_only(manifest.extras.value("contents", "") == "weights") {}

  [[nodiscard]] bool of_these_versions() const { return trireme == TRIREME_VERSION && libtorch == TORCH_VERSION; }
};

std::string version_text(const std::string& name, const std::string& version, const std::string& here) {
  if (version.empty()) return name + " unknown";
  return version == here ? name + " " + version : fmt::format("{} {} (this is {})", name, version, here);
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 10'000) return fmt::format("{} B", bytes);
  const auto b = static_cast<double>(bytes);
  return bytes < 10'000'000 ? fmt::format("{:.1f} kB", b / 1e3) : fmt::format("{:.1f} MB", b / 1e6);
}

json number(double value) { return std::isfinite(value) ? json(value) : json(); }
json number(const std::optional<double>& value) { return value ? number(*value) : json(); }

void add_json(json& object, const std::optional<checkpoint::Norms>& norms) {
  if (!norms) return;
  object["l2"] = number(norms->l2());
  object["min"] = number(norms->least());
  object["max"] = number(norms->most());
  object["not_finite"] = norms->not_finite();
}

std::string norms_text(const std::optional<checkpoint::Norms>& norms) {
  if (!norms) return {};
  std::string text = fmt::format("  l2 {:.6g}", norms->l2());
  if (norms->least()) text += fmt::format("  min {:.6g}  max {:.6g}", *norms->least(), *norms->most());
  if (norms->not_finite() > 0) text += fmt::format("  NOT FINITE: {}", norms->not_finite());
  return text;
}

std::vector<checkpoint::GroupSummary> groups_of(const checkpoint::Reader& reader, bool norms) {
  std::vector<checkpoint::GroupSummary> groups = checkpoint::summarize(reader.manifest());
  if (norms) checkpoint::add_norms(groups, reader);
  return groups;
}

json group_json(const checkpoint::GroupSummary& group) {
  json tensors = json::array();
  for (const checkpoint::TensorSummary& tensor : group.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", storage::safetensors_dtype(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"elements", tensor.elements},
                       {"bytes", tensor.bytes},
                       {"parts", tensor.parts}});
    add_json(tensors.back(), tensor.norms);
  }
  json object = {{"prefix", group.prefix}, {"tensors", tensors}, {"elements", group.elements}, {"bytes", group.bytes}};
  add_json(object, group.norms);
  return object;
}

void print_group(const checkpoint::GroupSummary& group) {
  fmt::print("{}  {} tensor{}, {} elements, {}{}\n", group.prefix.empty() ? "(no prefix)" : group.prefix, group.tensors.size(),
             group.tensors.size() == 1 ? "" : "s", group.elements, bytes_text(group.bytes), norms_text(group.norms));
  size_t name = 0, shape = 0;
  for (const checkpoint::TensorSummary& tensor : group.tensors) {
    name = std::max(name, tensor.name.size());
    shape = std::max(shape, shape_text(tensor.shape).size());
  }
  for (const checkpoint::TensorSummary& tensor : group.tensors)
    fmt::print("  {:<{}}  {:<4}  {:<{}}  {:>10}  {} part{}{}\n", tensor.name, name, storage::safetensors_dtype(tensor.dtype),
               shape_text(tensor.shape), shape, bytes_text(tensor.bytes), tensor.parts, tensor.parts == 1 ? " " : "s",
               norms_text(tensor.norms));
}

int64_t bytes_of_files(const checkpoint::Manifest& manifest) {
  int64_t bytes = 0;
  for (const checkpoint::StoredFile& file : manifest.files) bytes += file.bytes;
  return bytes;
}

struct ScalarText {
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(int64_t v) const { return std::to_string(v); }
  std::string operator()(double v) const { return fmt::format("{}", v); }
  std::string operator()(const std::string& v) const { return v; }
};

struct ScalarJson {
  json operator()(double v) const { return number(v); }
  json operator()(const auto& v) const { return v; }
};

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string scalar_text(const core::Scalar& value) { return std::visit(ScalarText{}, value); }

json scalar_json(const core::Scalar& value) { return std::visit(ScalarJson{}, value); }

json checkpoint_json(const fs::path& path, const CheckpointView& view) {
  const checkpoint::Reader reader(path);
  const checkpoint::Manifest& manifest = reader.manifest();
  const Provenance from(manifest);
  json files = json::array(), groups = json::array(), scalars = json::object();
  for (const checkpoint::StoredFile& file : manifest.files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3", file.hash.hex()}});
  int64_t tensors = 0, elements = 0, bytes = 0;
  for (const checkpoint::GroupSummary& group : groups_of(reader, view.norms)) {
    groups.push_back(group_json(group));
    tensors += static_cast<int64_t>(group.tensors.size());
    elements += group.elements;
    bytes += group.bytes;
  }
  for (const auto& [name, value] : manifest.scalars) scalars[name] = scalar_json(value);
  return {{"schema", 1},
          {"kind", "checkpoint"},
          {"path", path.native()},
          {"step", manifest.step},
          {"ranks", manifest.world_size},
          {"attempt", from.attempt},
          {"trireme", from.trireme},
          {"libtorch", from.libtorch},
          {"of_these_versions", from.of_these_versions()},
          {"data", from.data},
          {"weights_only", from.weights_only},
          {"files", files},
          {"scalars", scalars},
          {"groups", groups},
          {"tensors", tensors},
          {"elements", elements},
          {"bytes", bytes}};
}

void print_checkpoint(const fs::path& path, const CheckpointView& view) {
  if (view.json) {
    fmt::print("{}\n", checkpoint_json(path, view).dump());
    return;
  }
  const checkpoint::Reader reader(path);
  const checkpoint::Manifest& manifest = reader.manifest();
  const Provenance from(manifest);
  const std::string writer =
      from.weights_only ? "written by trireme convert"
                        : fmt::format("written by {} rank{} in attempt {}", manifest.world_size, manifest.world_size == 1 ? "" : "s", from.attempt);
  fmt::print("checkpoint {}\nstep {}, {}; {}, {}\n", path.string(), manifest.step, writer,
             version_text("trireme", from.trireme, TRIREME_VERSION), version_text("libtorch", from.libtorch, TORCH_VERSION));
  if (!from.data.empty()) fmt::print("training data {}\n", from.data);
  if (from.weights_only) fmt::print("weights alone: model.weights takes it, a run does not go on from it\n");
  for (const checkpoint::StoredFile& file : manifest.files)
    fmt::print("file {}  {}  xxh3 {}\n", file.name, bytes_text(file.bytes), file.hash.hex());
  fmt::print("scalars\n");
  for (const auto& [name, value] : manifest.scalars) fmt::print("  {} = {}\n", name, scalar_text(value));
  int64_t elements = 0, bytes = 0;
  for (const checkpoint::GroupSummary& group : groups_of(reader, view.norms)) {
    print_group(group);
    elements += group.elements;
    bytes += group.bytes;
  }
  fmt::print("total  {} tensors, {} elements, {} in {} file{}\n", manifest.tensors.size(), elements, bytes_text(bytes),
             manifest.files.size(), manifest.files.size() == 1 ? "" : "s");
}

void verify_checkpoint(const fs::path& path, bool as_json) {
  const auto start = std::chrono::steady_clock::now();
  const checkpoint::Reader reader(path);
  reader.verify();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const int64_t bytes = bytes_of_files(reader.manifest());
  const double speed = static_cast<double>(bytes) / 1e6 / std::max(seconds, 1e-6);
  const size_t files = reader.manifest().files.size();
  if (as_json)
    fmt::print("{}\n", json{{"path", path.native()},
                            {"valid", true},
                            {"files", files},
                            {"bytes", bytes},
                            {"seconds", seconds},
                            {"mb_per_second", speed}}
                           .dump());
  else
    fmt::print("{}: valid, {} file{}, every byte verified, {} at {:.0f} MB/s\n", path.string(), files, files == 1 ? "" : "s",
               bytes_text(bytes), speed);
}

}  // namespace trireme::app
