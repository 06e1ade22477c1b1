#include <trireme/report/rank_reducer.h>

#include <algorithm>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_ops.h>

namespace trireme::report {
namespace {

at::Tensor doubles(size_t count) {
  return at::_ops::empty_memory_format::call({c10::SymInt(static_cast<int64_t>(count))},
                                             at::kDouble, at::kStrided, at::Device(at::kCPU), false,
                                             std::nullopt);
}

}  // namespace

Window window_of(std::vector<RankRow> rows) {
  Window window;
  std::vector<double> column(rows.size());
  for (size_t item = 0; item < item_count; ++item) {
    std::transform(rows.begin(), rows.end(), column.begin(),
                   [item](const RankRow& row) { return row[item]; });
    window.items[item] = telemetry::spread_of(column);
  }
  window.rows = std::move(rows);
  return window;
}

std::vector<std::string> hosts_of(std::span<const comm::RankInfo> ranks) {
  std::vector<std::string> hosts;
  hosts.reserve(ranks.size());
  for (const comm::RankInfo& rank : ranks) hosts.push_back(rank.host);
  return hosts;
}

RankReducer::RankReducer(comm::CommunicatorPtr ranks) : ranks_(std::move(ranks)) {}

std::optional<Window> RankReducer::reduce(const RankRow& mine) {
  const auto size = static_cast<size_t>(ranks_->size());
  const at::Tensor in = doubles(item_count);
  const at::Tensor out = doubles(item_count * size);
  std::copy(mine.begin(), mine.end(), in.mutable_data_ptr<double>());
  ranks_->all_gather(out, in)->wait();
  if (ranks_->rank() != 0) return std::nullopt;
  std::vector<RankRow> rows(size);
  const double* values = out.const_data_ptr<double>();
  for (size_t rank = 0; rank < size; ++rank)
    std::copy_n(values + rank * item_count, item_count, rows[rank].begin());
  return window_of(std::move(rows));
}

}  // namespace trireme::report
