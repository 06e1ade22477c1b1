#include <trireme/report/row_sum.h>

#include <cmath>
#include <limits>

namespace trireme::report {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

void join(RankRow& values, const RankRow& more) {
  const double peak = more[index_of(Item::peak)];
  const bool fuller = !(peak <= values[index_of(Item::peak)]) && !std::isnan(peak);
  for (size_t item = 0; item < item_count; ++item) {
    if (std::isnan(more[item])) continue;
    const bool first = std::isnan(values[item]);
    switch (kind_of(item)) {
      case ItemKind::fullest:
        if (fuller || first) values[item] = more[item];
        break;
      case ItemKind::most:
        if (first || more[item] > values[item]) values[item] = more[item];
        break;
      case ItemKind::mean:
      case ItemKind::sum:
        values[item] = (first ? 0 : values[item]) + more[item];
        break;
    }
  }
}

}  // namespace

RowSum::RowSum() {
  values_.fill(unknown);
}

void RowSum::add(const RankRow& row) {
  RankRow weighted = row;
  const double steps = row[index_of(Item::steps)];
  for (size_t item = 0; item < item_count; ++item) {
    if (kind_of(item) == ItemKind::mean) weighted[item] *= steps;
    if (!std::isnan(row[item])) weights_[item] += steps;
  }
  join(values_, weighted);
}

void RowSum::add(const RowSum& other) {
  for (size_t item = 0; item < item_count; ++item) weights_[item] += other.weights_[item];
  join(values_, other.values_);
}

RankRow RowSum::row() const {
  RankRow row = values_;
  for (size_t item = 0; item < item_count; ++item)
    if (kind_of(item) == ItemKind::mean && weights_[item] > 0) row[item] /= weights_[item];
  return row;
}

}  // namespace trireme::report
