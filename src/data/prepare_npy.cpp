#include <trireme/core/error.h>
#include <trireme/data/prepare.h>

#include "data/npy_header.h"
#include "data/output_file.h"

#include <algorithm>
#include <memory>
#include <set>

#include <fmt/core.h>

namespace trireme::data {
namespace {

struct Source {
  std::string field;
  std::unique_ptr<InputFile> in;
  DatasetDescription array;  // name, element and shape
};

Source open_source(const std::string& field, const std::string& path) {
  if (field.empty() || field == "checksums" || field.find('/') != std::string::npos)
    throw Error(ErrorKind::usage, fmt::format("`{}` cannot be the name of a field", field),
                "write FIELD=FILE.npy, e.g. image=images.npy");
  Source source{field, std::make_unique<InputFile>(path), {}};
  const NpyHeader header = read_npy_header(*source.in);
  source.array.name = field;
  source.array.element = header.element;
  source.array.shape = header.shape;
  if (header.shape.empty()) source.in->damaged("holds a single number, not samples");
  if (source.array.rows() == 0 || source.array.row_bytes() == 0)
    source.in->damaged("holds no samples");
  return source;
}

/// Whole numbers called `label` tell the number of classes: the largest + 1, unless there are
/// negative ones.
class ClassCounter {
 public:
  void see(Element element, const std::vector<std::byte>& values, int64_t count) {
    std::vector<int64_t> wide(static_cast<size_t>(count));
    convert(element, values.data(), count, at::kLong, reinterpret_cast<std::byte*>(wide.data()));
    for (const int64_t value : wide) {
      lowest_ = std::min(lowest_, value);
      highest_ = std::max(highest_, value);
    }
  }
  [[nodiscard]] int64_t classes() const { return lowest_ < 0 ? 0 : highest_ + 1; }

 private:
  int64_t lowest_ = 0;
  int64_t highest_ = -1;
};

}  // namespace

Prepared prepare_npy(const NpyOptions& npy, const PrepareOptions& options) {
  check_options(options);
  if (npy.fields.empty())
    throw Error(ErrorKind::usage, "no array is given", "write FIELD=FILE.npy");
  std::vector<Source> sources;
  std::set<std::string> names;
  int64_t total = 0;
  for (const auto& [field, path] : npy.fields) {
    sources.push_back(open_source(field, path));
    const Source& first = sources.front();
    Source& last = sources.back();
    if (!names.insert(field).second)
      throw Error(ErrorKind::usage, fmt::format("field `{}` is given twice", field),
                  "name each field once");
    if (last.array.rows() != first.array.rows())
      last.in->damaged(fmt::format("has {} samples, {} has {}", last.array.rows(), first.in->path(),
                                   first.array.rows()));
    total += last.array.bytes();
  }
  OutputFile out(options.output, options.force);
  int64_t done = 0;
  for (Source& source : sources) {
    const DatasetDescription& array = source.array;
    const size_t dataset = out.writer().create(array.name, array.element, array.shape,
                                               static_cast<int>(options.compress));
    const bool labels = array.name == "label" && is_integer(array.element);
    ClassCounter counter;
    const int64_t piece = std::max<int64_t>(1, (1 << 22) / array.row_bytes());
    std::vector<std::byte> rows;
    for (int64_t first = 0; first < array.rows(); first += piece) {
      const int64_t n = std::min(piece, array.rows() - first);
      rows.resize(static_cast<size_t>(n * array.row_bytes()));
      source.in->read(rows.data(), static_cast<int64_t>(rows.size()));
      if (labels) counter.see(array.element, rows, n * array.row_elements());
      out.writer().append(dataset, rows.data(), n);
      done += static_cast<int64_t>(rows.size());
      if (options.progress) options.progress(done, total);
    }
    if (!source.in->at_end()) source.in->damaged("has more data than its header announces");
    if (labels && counter.classes() > 0)
      out.writer().attribute(dataset, {"classes", counter.classes()});
  }
  return {options.output, sources.front().array.rows(), 0, 0, out.commit()};
}

}  // namespace trireme::data
