#include "trainer/control.h"

namespace trireme::trainer {

Agreed read_control(const at::Tensor& summed, int64_t ranks) {
  const double* values = summed.const_data_ptr<double>();
  Agreed agreed;
  agreed.weight = values[control::weight];
  // Without a single counted token the loss is undefined, not infinite.
  const double divisor = agreed.weight > 0 ? agreed.weight : 1.0;
  agreed.loss = values[control::loss_sum] / divisor;
  agreed.stop = values[control::stop_votes] > 0;
  agreed.save = values[control::save_votes] > 0;
  agreed.saving = values[control::saving] > 0;
  agreed.debug = values[control::debug] > 0;
  for (int64_t r = ranks - 1; r >= 0; --r)
    if (values[control::first_flag + r] > 0) agreed.first_nonfinite_rank = static_cast<int>(r);
  for (int64_t i = control::first_metric(ranks); i < summed.numel(); ++i) agreed.metrics.push_back(values[i] / divisor);
  return agreed;
}

}  // namespace trireme::trainer
