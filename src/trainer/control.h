#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::trainer {

/// What the ranks tell each other once a step: one float64 vector, summed over the ranks.
///   [0] loss sum  [1] weight  [2] votes to stop  [3] votes to save  [4] ranks at work on a checkpoint
///   [5] requests to debug  [6, 6+W) 1 where rank r's loss is not finite  then the metric sums
namespace control {
constexpr int64_t loss_sum = 0, weight = 1, stop_votes = 2, save_votes = 3, saving = 4, debug = 5, first_flag = 6;
constexpr int64_t first_metric(int64_t ranks) { return first_flag + ranks; }
}  // namespace control

/// The summed vector, as the host reads it two steps later: the same on all ranks.
struct Agreed {
  double loss = 0;    ///< mean over everything the weight counts
  double weight = 0;
  bool stop = false;
  bool save = false;
  bool saving = false;  ///< some rank was at work on a checkpoint
  bool debug = false;   ///< rank 0 has a debug::Request
  int first_nonfinite_rank = -1;
  std::vector<double> metrics;  ///< means, in the model's order
};
/// `summed` is on the host.
[[nodiscard]] Agreed read_control(const at::Tensor& summed, int64_t ranks);

}  // namespace trireme::trainer
