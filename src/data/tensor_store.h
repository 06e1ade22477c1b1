#pragma once

#include "data/data_file.h"
#include "data/store.h"

#include <memory>
#include <string>
#include <vector>

namespace trireme::data {

/// Samples of a tensor file: one data set a field, the first dimension counts samples. Integers
/// with one value a sample, and everything called `label`, come as int64; float64 comes as float32;
/// other types as they are (images as uint8).
class TensorStore final : public SampleStore {
 public:
  /// Errors: data_damaged if the data sets disagree on the number of samples, input_missing if
  /// there is none.
  explicit TensorStore(std::shared_ptr<const DataFile> file);

  [[nodiscard]] const std::string& name() const override { return file_->path(); }
  [[nodiscard]] int64_t size() const override { return samples_; }
  [[nodiscard]] const std::vector<FieldSpec>& fields() const override { return fields_; }
  void read(int64_t sample, std::span<std::byte* const> rows) const override;
  [[nodiscard]] Properties properties() const override;
  [[nodiscard]] std::string fingerprint() const override { return file_->fingerprint(); }

 private:
  std::shared_ptr<const DataFile> file_;
  int64_t samples_ = 0;
  std::vector<FieldSpec> fields_;
};

}  // namespace trireme::data
