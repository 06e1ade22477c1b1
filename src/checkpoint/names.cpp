#include "checkpoint/names.h"

#include "checkpoint/boxes.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

namespace trireme::checkpoint {
namespace {

constexpr std::string_view step_prefix = "step-";
constexpr std::string_view unfinished_mark = ".tmp-";

}  // namespace

std::string folder_name(int64_t step) {
  return fmt::format("{}{:08}", step_prefix, step);
}

std::optional<int64_t> step_of(std::string_view name) {
  if (!name.starts_with(step_prefix)) return {};
  const std::string_view digits = name.substr(step_prefix.size());
  int64_t step = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc{} || step < 0 || folder_name(step) != name) return {};
  return step;
}

std::string unfinished_name(int64_t step, std::string_view run_id) {
  return fmt::format("{}{}{}", folder_name(step), unfinished_mark, run_id);
}

bool is_unfinished(std::string_view name) {
  const size_t mark = name.find(unfinished_mark);
  return mark != std::string_view::npos && step_of(name.substr(0, mark)).has_value();
}

std::string shard_name(int64_t rank, int64_t ranks) {
  return fmt::format("shard-{:05}-of-{:05}.safetensors", rank, ranks);
}

bool is_shard(std::string_view name) {
  return name.starts_with("shard-") && name.ends_with(".safetensors");
}

std::string entry_name(const std::string& tensor, const core::Box& box, at::IntArrayRef shape) {
  if (box == core::Box::whole(shape)) return tensor;
  return tensor + to_text(box);
}

}  // namespace trireme::checkpoint
