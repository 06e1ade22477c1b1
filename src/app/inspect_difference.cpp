#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/inspect.h"
#include "checkpoint/difference.h"

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/core/log.h>
#include <trireme/storage/safetensors.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path located(const fs::path& path) {
  std::vector<std::string> skipped;
  const fs::path found = checkpoint::locate(path, &skipped);
  for (const std::string& one : skipped) log::warning("checkpoint skipped: {}", one);
  return found;
}

int64_t elements_of(const std::vector<int64_t>& shape) { return core::Box::whole(shape).elements(); }

std::string kind_text(const std::optional<checkpoint::TensorKind>& kind) {
  return kind ? fmt::format("{} {}", storage::safetensors_dtype(kind->dtype), shape_text(kind->shape)) : "absent";
}

std::string scalar_or_absent(const std::optional<core::Scalar>& value) { return value ? scalar_text(*value) : "absent"; }

json number(double value) { return std::isfinite(value) ? json(value) : json("inf"); }

json kind_json(const std::optional<checkpoint::TensorKind>& kind) {
  if (!kind) return nullptr;
  return {{"dtype", storage::safetensors_dtype(kind->dtype)}, {"shape", kind->shape}};
}

json difference_json(const fs::path& first, const fs::path& second, const checkpoint::Difference& difference) {
  json scalars = json::array(), tensors = json::array();
  for (const checkpoint::ScalarDifference& one : difference.scalars)
    scalars.push_back({{"name", one.name},
                       {"first", one.first ? scalar_json(*one.first) : json()},
                       {"second", one.second ? scalar_json(*one.second) : json()}});
  for (const checkpoint::TensorDifference& one : difference.tensors) {
    tensors.push_back({{"name", one.name}, {"first", kind_json(one.first)}, {"second", kind_json(one.second)}});
    if (!one.values) continue;
    tensors.back()["max_abs"] = number(one.values->max_abs());
    tensors.back()["relative_l2"] = number(one.values->relative_l2());
    tensors.back()["differing"] = one.values->differing();
  }
  return {{"schema", 1},
          {"first", first.native()},
          {"second", second.native()},
          {"scalars_compared", difference.scalars_compared},
          {"tensors_compared", difference.tensors_compared},
          {"scalars", scalars},
          {"tensors", tensors},
          {"equal", difference.count() == 0}};
}

void print(const fs::path& first, const fs::path& second, const checkpoint::Difference& difference) {
  fmt::print("a {}\nb {}\n", first.string(), second.string());
  for (const checkpoint::ScalarDifference& one : difference.scalars)
    fmt::print("scalar {}: {} | {}\n", one.name, scalar_or_absent(one.first), scalar_or_absent(one.second));
  for (const checkpoint::TensorDifference& one : difference.tensors) {
    std::string line = "tensor " + one.name + ": ";
    line += one.first == one.second ? kind_text(one.first) : kind_text(one.first) + " | " + kind_text(one.second);
    if (one.values)
      line += fmt::format("  max abs {:.6g}, relative L2 {:.6g}, {} of {} elements differ", one.values->max_abs(),
                          one.values->relative_l2(), one.values->differing(), elements_of(one.first->shape));
    fmt::print("{}\n", line);
  }
  if (difference.count() == 0)
    fmt::print("equal: {} tensors and {} scalars\n", difference.tensors_compared, difference.scalars_compared);
  else
    fmt::print("{} of {} tensors and {} of {} scalars differ\n", difference.tensors.size(), difference.tensors_compared,
               difference.scalars.size(), difference.scalars_compared);
}

}  // namespace

int inspect_difference(const fs::path& a, const fs::path& b, bool as_json) {
  const fs::path first = located(a), second = located(b);
  const checkpoint::Difference difference =
      checkpoint::difference_between(checkpoint::Reader(first), checkpoint::Reader(second));
  if (as_json)
    fmt::print("{}\n", difference_json(first, second, difference).dump());
  else
    print(first, second, difference);
  return difference.count() == 0 ? 0 : 1;
}

}  // namespace trireme::app
