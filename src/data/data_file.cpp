#include "data/data_file.h"

#include <trireme/core/error.h>

#include "data/input_file.h"
#include "data/isolated.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace trireme::data {
namespace {

enum class Depth { ends, everything };

// Runs in the child: what the parent will read through the library is tried here first.
std::string examine(const std::string& path, Depth depth) {
  const FileDescription description = describe_hdf5(path);
  validate(description);
  for (const auto& d : description.datasets) {
    if (d.element == Element::other || d.offset >= 0 || d.bytes() == 0) continue;
    const Column column(path, d, description.block_bytes, nullptr);
    std::vector<std::byte> scratch;
    (void)column.rows(0, 1, scratch);
    (void)column.rows(d.rows() - 1, 1, scratch);
    if (depth == Depth::everything) column.verify_all();
  }
  return encode(description);
}

FileDescription describe_isolated(const std::string& path, Depth depth) {
  const int64_t bytes = require_readable_file(path);
  if (bytes == 0)
    throw Error(ErrorKind::data_damaged, fmt::format("{}: the file is empty", path),
                std::string(remake_hint));
  IsolationLimits limits;
  if (depth == Depth::everything) limits.cpu_seconds = 0;
  FileDescription description =
      decode(run_isolated(path, hdf5_mutex(), limits, [&] { return examine(path, depth); }));
  validate(description);
  return description;
}

}  // namespace

std::shared_ptr<const DataFile> DataFile::open(const std::string& path) {
  auto file = std::make_shared<const DataFile>(describe_isolated(path, Depth::ends));
  for (const auto& column : file->columns()) {
    if (column->blocks() == 0) continue;
    column->verify_block(0);
    column->verify_block(column->blocks() - 1);
  }
  return file;
}

DataFile::DataFile(FileDescription description) : description_(std::move(description)) {
  const auto& datasets = description_.datasets;
  if (std::ranges::any_of(datasets, [](const auto& d) { return d.offset >= 0; }))
    map_ = std::make_shared<const storage::MappedFile>(description_.path);
  if (map_ && static_cast<int64_t>(map_->bytes().size()) != description_.file_bytes)
    throw Error(ErrorKind::data_damaged, fmt::format("{}: changed while it was opened", path()),
                "wait until the file is complete");
  for (const auto& d : datasets)
    if (d.element != Element::other && !d.shape.empty())
      columns_.push_back(std::make_unique<Column>(path(), d, description_.block_bytes, map_));
}

bool DataFile::has(std::string_view name) const {
  return std::ranges::any_of(description_.datasets, [&](const auto& d) { return d.name == name; });
}

const Column& DataFile::at(std::string_view name) const {
  for (const auto& column : columns_)
    if (column->description().name == name) return *column;
  if (has(name))
    throw Error(ErrorKind::data_damaged,
                fmt::format("{}: dataset `{}` is not an array of integers, float32 or float64",
                            path(), name),
                "make the file with `trireme prepare`");
  std::vector<std::string> names;
  for (const auto& d : description_.datasets) names.push_back(d.name);
  throw Error(ErrorKind::input_missing,
              fmt::format("{}: there is no dataset `{}`; the file has: {}", path(), name,
                          names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))),
              "make the file with `trireme prepare`");
}

std::string DataFile::fingerprint() const {
  std::string text = summary(description_);
  std::vector<std::byte> scratch;
  for (const auto& column : columns_) {
    const auto& d = column->description();
    if (!d.checksums.empty()) {
      text += storage::hash_of(std::as_bytes(std::span(d.checksums))).hex();
      continue;
    }
    constexpr int64_t pieces = 64;
    const int64_t rows = std::max<int64_t>(1, 4096 / std::max<int64_t>(d.row_bytes(), 1));
    for (int64_t i = 0; i < pieces && d.bytes() > 0; ++i) {
      const int64_t first = std::min(i * (d.rows() / pieces), d.rows() - 1);
      const int64_t count = std::min(rows, d.rows() - first);
      const auto* bytes = column->rows(first, count, scratch);
      text += storage::hash_of(std::span(bytes, static_cast<size_t>(count * d.row_bytes()))).hex();
    }
  }
  return storage::hash_of(text).hex();
}

Verification verify_data_file(const std::string& path) {
  const DataFile file(describe_isolated(path, Depth::everything));
  Verification result;
  result.has_checksums = file.description().block_bytes > 0;
  for (const auto& column : file.columns()) {
    if (column->mapped()) column->verify_all();
    result.datasets += 1;
    result.blocks += column->blocks();
    result.bytes += column->description().bytes();
  }
  return result;
}

}  // namespace trireme::data
