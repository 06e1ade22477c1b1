#include "checkpoint/damage.h"

#include <trireme/core/error.h>

#include "checkpoint/names.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include <fmt/core.h>

namespace trireme::checkpoint {

namespace fs = std::filesystem;

void throw_damaged(const fs::path& file, const std::string& what) {
  throw Error(ErrorKind::data_damaged, fmt::format("{}: {}", file.native(), what),
              "use an older checkpoint, or restore this one from a copy");
}

void check_present(const fs::path& checkpoint, const StoredFile& file) {
  std::error_code error;
  const fs::path path = checkpoint / file.name;
  const auto bytes = fs::file_size(path, error);
  // A disk or network that does not answer is no missing shard: going on from an older checkpoint
  // would abandon a good one.
  constexpr std::array no_answer = {EACCES, EPERM, EIO, ESTALE, ETIMEDOUT, ENOMEM, EINTR};
  if (std::ranges::find(no_answer, error.value()) != no_answer.end())
    throw Error(ErrorKind::storage, fmt::format("{}: {}", path.native(), error.message()),
                "check the permissions and the file system, then start again");
  if (error) throw_damaged(path, "the shard is missing: " + error.message());
  if (static_cast<int64_t>(bytes) != file.bytes)
    throw_damaged(path, fmt::format("the shard has {} bytes instead of {}", bytes, file.bytes));
}

void check_nothing_extra(const fs::path& checkpoint, const Manifest& manifest) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(checkpoint, error)) {
    const std::string name = entry.path().filename().native();
    const bool known = std::any_of(manifest.files.begin(), manifest.files.end(),
                                   [&](const StoredFile& file) { return file.name == name; });
    if (is_shard(name) && !known)
      throw_damaged(entry.path(), "the shard does not belong to this checkpoint");
  }
  if (error) throw_damaged(checkpoint, error.message());
}

}  // namespace trireme::checkpoint
