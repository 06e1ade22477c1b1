#include <trireme/core/error.h>
#include <trireme/data/open.h>

#include "data/data_file.h"
#include "data/input_file.h"
#include "data/synthetic_store.h"
#include "data/tensor_store.h"
#include "data/token_store.h"

#include <algorithm>

#include <fmt/format.h>
#include <glob.h>

namespace trireme::data {
namespace {

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), GLOB_BRACE, nullptr, &found);
  std::vector<std::string> paths;
  if (status == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  std::ranges::sort(paths);  // glob's own order depends on the locale
  if (paths.empty())
    throw Error(ErrorKind::input_missing, fmt::format("{}: no file matches", pattern),
                "check data.train and data.eval; `trireme prepare` makes such files");
  return paths;
}

std::unique_ptr<const SampleStore> open_store(const std::string& path,
                                              std::optional<int64_t> sequence_length,
                                              int64_t& tokens) {
  if (is_synthetic(path)) return make_synthetic(path, sequence_length);
  auto file = DataFile::open(path);
  if (!file->has("tokens")) return std::make_unique<TensorStore>(std::move(file));
  if (!sequence_length)
    throw Error(ErrorKind::configuration,
                fmt::format("{} holds tokens, but the length of a sequence is not known", path),
                "set data.sequence_length");
  auto store = std::make_unique<TokenStore>(std::move(file), *sequence_length);
  tokens += store->token_count();
  return store;
}

FileSummary summarise(const DataFile& file) {
  FileSummary result;
  result.path = file.path();
  result.bytes = file.description().file_bytes;
  for (const auto& d : file.description().datasets) {
    FileSummary::Entry entry{
        d.name, std::string(name_of(d.element)), d.shape, d.offset >= 0, !d.checksums.empty(), {}};
    for (const auto& a : d.attributes)
      entry.attributes.emplace_back(
          a.name, std::visit([](const auto& v) { return fmt::format("{}", v); }, a.value));
    result.datasets.push_back(std::move(entry));
  }
  result.fingerprint = file.fingerprint();
  return result;
}

}  // namespace

std::vector<std::string> expand_paths(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    const bool is_glob = !is_synthetic(path) && path.find_first_of("*?[{") != std::string::npos;
    if (is_glob) {
      const auto found = matches(path);
      files.insert(files.end(), found.begin(), found.end());
    } else {
      if (!is_synthetic(path)) (void)require_readable_file(path);
      files.push_back(path);
    }
  }
  return files;
}

std::shared_ptr<const Dataset> open_dataset(const std::vector<std::string>& paths,
                                            std::optional<int64_t> sequence_length) {
  if (paths.empty())
    throw Error(ErrorKind::configuration, "no data is given",
                "set data.train (and data.eval) to files");
  int64_t tokens = 0;
  std::vector<std::unique_ptr<const SampleStore>> stores;
  for (const std::string& path : expand_paths(paths))
    stores.push_back(open_store(path, sequence_length, tokens));
  auto dataset = std::make_shared<const StoreDataset>(std::move(stores));
  if (dataset->size() > 0) return dataset;
  const std::string what = fmt::format("{}", fmt::join(paths, ", "));
  if (tokens > 0)
    throw Error(ErrorKind::configuration,
                fmt::format("{} has {} tokens, a sequence of {} needs {}", what, tokens,
                            *sequence_length, *sequence_length + 1),
                "use a shorter data.sequence_length, or more text");
  throw Error(ErrorKind::configuration, fmt::format("{} has no samples", what),
              "make the file again from data that is not empty");
}

FileSummary inspect_file(const std::string& path) {
  return summarise(*DataFile::open(path));
}

FileSummary verify_file(const std::string& path) {
  const Verification verified = verify_data_file(path);
  if (!verified.has_checksums)
    throw Error(ErrorKind::configuration, fmt::format("{} has no checksums to verify", path),
                "files made by `trireme prepare` have them");
  FileSummary result = inspect_file(path);
  result.blocks_verified = verified.blocks;
  return result;
}

}  // namespace trireme::data
