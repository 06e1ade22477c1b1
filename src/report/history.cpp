#include <trireme/core/error.h>
#include <trireme/report/history.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

namespace trireme::report {
namespace {

void append(std::string& text, double value) {
  const auto out = std::back_inserter(text);
  if (!std::isfinite(value))
    fmt::format_to(out, "null");
  else
    fmt::format_to(out, "{:.4g}", value);
}

struct Rows {
  std::vector<int64_t> steps;
  std::vector<std::vector<RankRow>> rows;  // [bin][rank]
};

/// With `stride` bins in one.
Rows rows_of(const std::vector<History::Bin>& bins, size_t stride) {
  Rows all;
  for (size_t begin = 0; begin < bins.size(); begin += stride) {
    const size_t end = std::min(bins.size(), begin + stride);
    std::vector<RowSum> sums = bins[begin].ranks;
    for (size_t bin = begin + 1; bin < end; ++bin)
      for (size_t rank = 0; rank < sums.size(); ++rank) sums[rank].add(bins[bin].ranks[rank]);
    all.steps.push_back(bins[end - 1].last_step);
    std::vector<RankRow>& rows = all.rows.emplace_back();
    for (const RowSum& sum : sums) rows.push_back(sum.row());
  }
  return all;
}

std::vector<size_t> known_items(const Rows& all) {
  std::vector<size_t> items;
  const auto add = [&](size_t item) {
    for (const auto& of_bin : all.rows)
      for (const RankRow& row : of_bin)
        if (std::isfinite(row[item]) && row[item] != 0) return items.push_back(item);
  };
  for (size_t phase = 0; phase < telemetry::phase_count; ++phase) add(phase);
  for (const Item item : history_items) add(index_of(item));
  return items;
}

}  // namespace

void History::add(const Window& window, int64_t step) {
  if (bins_.empty() || bins_.back().windows == stride_) {
    if (bins_.size() == capacity) {
      for (size_t i = 0; i < capacity / 2; ++i) {
        Bin two = std::move(bins_[2 * i]);
        const Bin& second = bins_[2 * i + 1];
        two.last_step = second.last_step;
        two.windows += second.windows;
        for (size_t rank = 0; rank < two.ranks.size(); ++rank)
          two.ranks[rank].add(second.ranks[rank]);
        bins_[i] = std::move(two);
      }
      bins_.resize(capacity / 2);
      stride_ *= 2;
    }
    bins_.push_back({.ranks = std::vector<RowSum>(window.rows.size())});
  }
  Bin& bin = bins_.back();
  check(bin.ranks.size() == window.rows.size(), "all windows of a run have the same ranks");
  bin.last_step = step;
  ++bin.windows;
  for (size_t rank = 0; rank < bin.ranks.size(); ++rank) bin.ranks[rank].add(window.rows[rank]);
}

std::string History::json() const {
  const size_t ranks = bins_.empty() ? 0 : bins_.front().ranks.size();
  Rows all = rows_of(bins_, 1);
  const std::vector<size_t> items = known_items(all);
  const size_t values = items.size() * ranks * bins_.size();
  if (values > most_values) all = rows_of(bins_, (values + most_values - 1) / most_values);

  std::string text = "{\"steps\": [";
  const auto out = std::back_inserter(text);
  for (size_t bin = 0; bin < all.steps.size(); ++bin)
    fmt::format_to(out, "{}{}", bin == 0 ? "" : ",", all.steps[bin]);
  fmt::format_to(out, "], \"ranks\": {}, \"items\": {{", ranks);
  for (const size_t item : items) {
    fmt::format_to(out, "{}\"{}\": [", item == items.front() ? "" : ", ", item_names[item]);
    for (size_t bin = 0; bin < all.rows.size(); ++bin) {
      text += bin == 0 ? "[" : ",[";
      for (size_t rank = 0; rank < ranks; ++rank) {
        if (rank > 0) text += ',';
        append(text, all.rows[bin][rank][item]);
      }
      text += ']';
    }
    text += ']';
  }
  return text + "}}";
}

}  // namespace trireme::report
