#pragma once

#include <trireme/data/dataset.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <c10/core/ScalarType.h>

namespace trireme::data {

/// A field of a sample: what one row of the batch's tensor is.
struct FieldSpec {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> shape;  ///< of one sample, without the batch dimension
  [[nodiscard]] int64_t elements() const;
  [[nodiscard]] int64_t bytes() const;
  bool operator==(const FieldSpec&) const = default;
};

/// Samples of one source (a file, a generator) one by one. Immutable, read by several threads at
/// once.
class SampleStore {
 public:
  using Properties = std::vector<std::pair<std::string, int64_t>>;
  virtual ~SampleStore();
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual int64_t size() const = 0;
  [[nodiscard]] virtual const std::vector<FieldSpec>& fields() const = 0;
  /// Fills one row a field: rows[i] has room for fields()[i].bytes().
  virtual void read(int64_t sample, std::span<std::byte* const> rows) const = 0;
  [[nodiscard]] virtual Properties properties() const = 0;
  [[nodiscard]] virtual std::string fingerprint() const = 0;
};

/// The samples of several stores one after the other. Error configuration if their fields or
/// properties differ, naming both.
class StoreDataset final : public Dataset {
 public:
  explicit StoreDataset(std::vector<std::unique_ptr<const SampleStore>> stores);
  [[nodiscard]] int64_t size() const override { return ends_.back(); }
  [[nodiscard]] core::Batch read(std::span<const int64_t> ids) const override;
  [[nodiscard]] SampleStore::Properties properties() const override;
  [[nodiscard]] std::string fingerprint() const override;

 private:
  std::vector<std::unique_ptr<const SampleStore>> stores_;
  std::vector<int64_t> ends_;  // ends_[i]: samples in stores 0 to i
};

}  // namespace trireme::data
