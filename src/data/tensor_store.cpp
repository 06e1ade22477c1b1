#include "data/tensor_store.h"

#include <trireme/core/error.h>

#include <algorithm>

#include <fmt/core.h>

namespace trireme::data {
namespace {

at::ScalarType field_type(const DatasetDescription& d) {
  const bool scalar = d.row_elements() == 1;
  if (is_integer(d.element) && (scalar || d.name == "label")) return at::kLong;
  return tensor_type(d.element);
}

}  // namespace

TensorStore::TensorStore(std::shared_ptr<const DataFile> file) : file_(std::move(file)) {
  for (const auto& d : file_->description().datasets)
    (void)file_->at(d.name);  // refuses what is no array of numbers
  if (file_->columns().empty())
    throw Error(ErrorKind::input_missing,
                fmt::format("{}: the file has no datasets", file_->path()),
                "make the file with `trireme prepare`");
  const DatasetDescription& leader = file_->columns()[0]->description();
  samples_ = leader.rows();
  for (const auto& column : file_->columns()) {
    const DatasetDescription& d = column->description();
    if (d.rows() != samples_)
      throw Error(ErrorKind::data_damaged,
                  fmt::format("{}: dataset `{}` has {} samples, `{}` has {}", file_->path(),
                              leader.name, samples_, d.name, d.rows()),
                  "every dataset of a tensor file has one row a sample");
    fields_.push_back({d.name, field_type(d), {d.shape.begin() + 1, d.shape.end()}});
  }
}

void TensorStore::read(int64_t sample, std::span<std::byte* const> rows) const {
  thread_local std::vector<std::byte> scratch;
  for (size_t i = 0; i < fields_.size(); ++i) {
    const Column& column = *file_->columns()[i];
    const std::byte* in = column.rows(sample, 1, scratch);
    convert(column.description().element, in, fields_[i].elements(), fields_[i].type, rows[i]);
  }
}

SampleStore::Properties TensorStore::properties() const {
  Properties properties;
  for (const auto& column : file_->columns()) {
    const DatasetDescription& d = column->description();
    if (d.name == "image" && d.shape.size() == 4) {
      properties.emplace_back("channels", d.shape[1]);
      properties.emplace_back("height", d.shape[2]);
      properties.emplace_back("width", d.shape[3]);
    }
    if (d.name == "features" && d.shape.size() == 2)
      properties.emplace_back("features", d.shape[1]);
    if (d.name == "label")
      if (const int64_t* classes = d.integer("classes"))
        properties.emplace_back("classes", *classes);
  }
  return properties;
}

}  // namespace trireme::data
