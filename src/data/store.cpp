#include "data/store.h"

#include <trireme/core/error.h>
#include <trireme/storage/hash.h>

#include <algorithm>

#include <ATen/ops/empty_ops.h>

#include <fmt/format.h>

namespace trireme::data {
namespace {

std::string describe(const SampleStore& store) {
  std::string text;
  for (const FieldSpec& field : store.fields())
    text += fmt::format("{}{} {}[{}]", text.empty() ? "" : ", ", field.name,
                        c10::toString(field.type), fmt::join(field.shape, ","));
  for (const auto& [key, value] : store.properties()) text += fmt::format(", {} {}", key, value);
  return text;
}

// Properties that are found in the samples ("classes" of a part of the data) may differ; the
// largest holds.
bool fits(const SampleStore& a, const SampleStore& b) {
  if (a.fields() != b.fields()) return false;
  for (const auto& [key, value] : a.properties())
    for (const auto& [other_key, other_value] : b.properties())
      if (key == other_key && key != "classes" && value != other_value) return false;
  return true;
}

}  // namespace

SampleStore::~SampleStore() = default;

int64_t FieldSpec::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

int64_t FieldSpec::bytes() const {
  return elements() * static_cast<int64_t>(c10::elementSize(type));
}

StoreDataset::StoreDataset(std::vector<std::unique_ptr<const SampleStore>> stores)
    : stores_(std::move(stores)) {
  check(!stores_.empty(), "a data set has at least one source");
  int64_t total = 0;
  for (const auto& store : stores_) {
    if (!fits(*stores_[0], *store))
      throw Error(
          ErrorKind::configuration,
          fmt::format("{} and {} hold different kinds of samples: {} against {}",
                      stores_[0]->name(), store->name(), describe(*stores_[0]), describe(*store)),
          "list only files that were prepared in the same way");
    total += store->size();
    ends_.push_back(total);
  }
}

core::Batch StoreDataset::read(std::span<const int64_t> ids) const {
  const auto& fields = stores_[0]->fields();
  core::Batch batch;
  std::vector<std::byte*> rows;
  for (const FieldSpec& field : fields) {
    std::vector<int64_t> shape{static_cast<int64_t>(ids.size())};
    shape.insert(shape.end(), field.shape.begin(), field.shape.end());
    at::Tensor values =
        at::_ops::empty_memory_format::call(c10::fromIntArrayRefSlow(shape), field.type,
                                            std::nullopt, std::nullopt, std::nullopt, std::nullopt);
    rows.push_back(static_cast<std::byte*>(values.data_ptr()));
    batch.fields.push_back({field.name, std::move(values)});
  }
  for (const int64_t id : ids) {
    check(id >= 0 && id < size(), "sample id outside of the data set");
    const auto store = static_cast<size_t>(std::ranges::upper_bound(ends_, id) - ends_.begin());
    const int64_t first = store == 0 ? 0 : ends_[store - 1];
    stores_[store]->read(id - first, rows);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] += fields[i].bytes();
  }
  batch.samples.assign(ids.begin(), ids.end());
  return batch;
}

SampleStore::Properties StoreDataset::properties() const {
  SampleStore::Properties merged = stores_[0]->properties();
  for (const auto& store : stores_)
    for (const auto& [key, value] : store->properties()) {
      const auto found = std::ranges::find(merged, key, &std::pair<std::string, int64_t>::first);
      if (found == merged.end())
        merged.emplace_back(key, value);
      else
        found->second = std::max(found->second, value);
    }
  return merged;
}

std::string StoreDataset::fingerprint() const {
  if (stores_.size() == 1) return stores_[0]->fingerprint();
  std::string text;
  for (const auto& store : stores_) text += store->fingerprint();
  return storage::hash_of(text).hex();
}

}  // namespace trireme::data
