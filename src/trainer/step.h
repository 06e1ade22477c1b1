#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <trireme/comm/communicator.h>
#include <trireme/core/batch.h>
#include <trireme/data/loader.h>
#include <trireme/debug/debugger.h>
#include <trireme/device/mark.h>
#include <trireme/model/model.h>
#include <trireme/optim/optimizer.h>
#include <trireme/parallel/data_parallel.h>
#include <trireme/precision/loss_scaler.h>
#include <trireme/precision/precision.h>
#include <trireme/precision/scope.h>
#include <trireme/telemetry/recorder.h>

#include "trainer/contribution.h"
#include "trainer/step_graphs.h"
#include "trainer/step_numbers.h"
#include "trainer/update_scales.h"

namespace trireme::trainer {

/// What a step leaves for the host, which reads it two steps later.
struct PublishedStep {
  int64_t step = 0;  ///< steps completed with this one
  data::GlobalBatch global;
  int64_t tokens = 0;  ///< of the run up to here
  double lr = 0;
  at::Tensor left_out;  ///< 0-dim float32 on the device, until the next step: other than 0, the update was left out
  // On the host, to be read once this is reached:
  device::Mark arrived;
  at::Tensor control;        ///< see control.h, summed over the ranks
  at::Tensor gradient_norm;  ///< 0-dim, of the averaged gradient before clipping
  at::Tensor nonfinite;      ///< 0-dim flag: the update was left out
  at::Tensor loss_scale;     ///< 0-dim, that this step was made with
};

/// One optimizer step, read from top to bottom. All ranks run it together.
class TrainStep {
 public:
  struct Parts {
    model::Model& model;
    parallel::DataParallel& data_parallel;
    optim::Optimizer& optimizer;
    precision::LossScaler& scaler;
    const precision::Precision& precision;
    at::Device device;
    comm::Communicator& ranks;  ///< for tensors on the device
    telemetry::Recorder& recorder;
    StepGraphs* graphs = nullptr;  ///< null: every step is eager
    debug::Debugger* debugger = nullptr;  ///< sees the inside of eager steps; null: nobody does
    /// Called before parameters and optimizer change: who still reads them is waited for. May be empty.
    std::function<void()> before_update;
  };
  /// `nominal_weight`: what the loss counts in a full global batch (W0). Backward starts from loss_sum * scale / W0; the
  /// true weight W of all ranks and micro-steps is known only after the forwards, so W0 / W is applied after reduction.
  TrainStep(const Parts& parts, double nominal_weight, double max_grad_norm);

  using Votes = Contribution::Votes;
  /// The batch is on the device.
  [[nodiscard]] PublishedStep run(const data::LoadedBatch& batch, double lr, Votes votes);
  /// Whether run() will repeat recorded work: no unit of the model is called then.
  [[nodiscard]] bool repeats(const data::LoadedBatch& batch) const {
    return parts_.graphs != nullptr && parts_.graphs->repeats(batch.micro_batches, batch.global.count);
  }

  /// Names of the metrics in the control vector; known after the first step.
  [[nodiscard]] const std::vector<std::string>& metric_names() const { return metric_names_; }
  /// Parameters that got no gradient on any rank in the last step.
  [[nodiscard]] const std::vector<std::string>& unused_parameters() const { return unused_; }

 private:
  struct Wishes {
    double lr;
    Votes votes;
  };
  [[nodiscard]] StepResult compute(const std::vector<core::Batch>& micro_batches, const Wishes& wishes, bool repeated);
  [[nodiscard]] StepResult record(const std::vector<core::Batch>& micro_batches, const Wishes& wishes);
  [[nodiscard]] PublishedStep publish(const StepResult& result);
  void show_gradients(const UpdateScales& scales);
  void count_traffic(const parallel::ReduceReport& traffic);

  Parts parts_;
  double nominal_weight_;
  double max_grad_norm_;
  std::optional<StepRequests> requests_;  // on devices
  std::optional<StepAnswers> answers_;
  at::Tensor loss_scale_, backward_scale_;  // of the step under way
  std::vector<std::string> metric_names_;
  std::vector<std::string> unused_;
};

}  // namespace trireme::trainer
