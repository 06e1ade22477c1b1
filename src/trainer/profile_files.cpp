#include "trainer/profile_files.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <trireme/core/error.h>

namespace trireme::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kept_prefix = "trace-step-", kept_suffix = ".json.gz";

/// Of the recording that wrote the file; 0 if it does not say.
int64_t first_step_of(const fs::path& operators) {
  if (!fs::is_regular_file(operators)) return 0;
  std::ifstream file(operators);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const auto found = json.is_object() ? json.find("first_step") : json.end();
  return json.is_object() && found != json.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

bool is_kept_trace(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with(kept_prefix) && name.ends_with(kept_suffix);
}

}  // namespace

std::string ProfileFiles::stem(const comm::RankInfo& rank, int64_t unix_ms) {
  return fmt::format("{}_{}.{}", rank.host, rank.pid, unix_ms);
}

void ProfileFiles::make_room(int64_t keep) const {
  if (!fs::is_directory(paths_.root)) throw Error(ErrorKind::storage, paths_.root.string() + " is no folder", "make run.dir");
  const std::string name = fmt::format("{}{:08}{}", kept_prefix, first_step_of(operators()), kept_suffix);
  if (fs::exists(trace())) fs::rename(trace(), paths_.root / name);
  std::vector<fs::path> kept;
  for (const fs::directory_entry& entry : fs::directory_iterator(paths_.root))
    if (is_kept_trace(entry.path())) kept.push_back(entry.path());
  std::ranges::sort(kept);
  for (size_t i = 0; i + static_cast<size_t>(std::max<int64_t>(keep, 1)) <= kept.size(); ++i) fs::remove(kept[i]);
}

int64_t unix_milliseconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace trireme::trainer
