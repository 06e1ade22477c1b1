#pragma once

#include <trireme/report/rank_row.h>

namespace trireme::report {

/// How an item of several windows is put together.
enum class ItemKind {
  mean,     ///< over the steps
  most,     ///< the largest
  fullest,  ///< as it was when `peak` was largest
  sum,
};

[[nodiscard]] constexpr ItemKind kind_of(size_t item) {
  if (item == index_of(Item::steps)) return ItemKind::sum;
  if (item >= index_of(Item::parameters) && item <= index_of(Item::other_memory))
    return ItemKind::fullest;
  if ((item >= index_of(Item::allocated) && item <= index_of(Item::rss)) ||
      item == index_of(Item::celsius) || item == index_of(Item::peak_ever))
    return ItemKind::most;
  return ItemKind::mean;
}

/// Rows of one rank put together, each weighted by its steps; what is not known (NaN) does not
/// count.
class RowSum {
 public:
  RowSum();
  void add(const RankRow& row);
  void add(const RowSum& other);
  [[nodiscard]] RankRow row() const;

 private:
  RankRow values_;     // means times weights
  RankRow weights_{};  // steps in which the item was known
};

}  // namespace trireme::report
