#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <trireme/model/model.h>

namespace trireme::trainer {

/// What the micro-steps of one rank contribute to the control vector.
class Contribution {
 public:
  /// Keeps the sums without reading them.
  void add(const model::LossSums& sums);

  struct Votes {
    bool stop = false;
    bool save = false;
    bool saving = false;  ///< this rank is at work on a checkpoint
    bool debug = false;   ///< this rank, rank 0, has a request for all
  };
  /// This rank's summand of the control vector (control.h), on the host.
  [[nodiscard]] at::Tensor control(Votes votes, int rank, int ranks) const;
  /// The same on a device, without a look at the values; `votes` is [stop, save, saving, debug] there, as float64.
  [[nodiscard]] at::Tensor control_on_device(const at::Tensor& votes, int rank, int ranks) const;

 private:
  std::vector<at::Tensor> losses_, weights_;
  std::vector<std::vector<at::Tensor>> metrics_;  ///< by metric, then by micro-step
};

}  // namespace trireme::trainer
