#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <trireme/comm/traced.h>
#include <trireme/core/batch.h>
#include <trireme/core/error.h>
#include <trireme/device/backend.h>
#include <trireme/parallel/data_parallel.h>

#include <ATen/core/Tensor.h>

namespace trireme::trainer {

/// What a step's work on the device leaves there.
struct StepResult {
  at::Tensor control;        ///< see control.h, summed over the ranks
  at::Tensor gradient_norm;  ///< 0-dim float64, of the averaged gradient before clipping
  at::Tensor nonfinite;      ///< 0-dim float32 flag: the update was left out
  at::Tensor loss_scale;     ///< 0-dim float32 that this step was made with
  at::Tensor numbers;        ///< on devices: norm, flag, scale, then control, as float64 in one piece; undefined on a CPU
  // What it moved, and moves again where it is repeated:
  parallel::ReduceReport traffic;
  std::vector<comm::TrafficRow> calls;  ///< only of recorded work
};

/// A step's work on the device, recorded as a graph for each shape of batches and repeated. The first steps of a shape run
/// eagerly: what is allocated or tuned at first use must be there before. The samples of all ranks belong to the shape, so that
/// all ranks take the same turns, as collectives need: in the last step of an epoch one may have a full batch, another none.
class StepGraphs {
 public:
  using Body = std::function<StepResult(const std::vector<core::Batch>&)>;
  enum class Mode { automatic, required };
  /// Tells whether something holds on all ranks; all of them ask together.
  using Everywhere = std::function<bool(bool here)>;
  StepGraphs(device::Backend& backend, int device, Mode mode, Everywhere everywhere)
      : backend_(backend), device_(device), mode_(mode), everywhere_(std::move(everywhere)) {}

  /// Whether run() will repeat a graph for these batches, or record one first. `samples`: of all ranks, in this step.
  [[nodiscard]] bool repeats(const std::vector<core::Batch>& batches, int64_t samples) const;
  /// While `on`, steps are eager although they could be repeated; the same on all ranks.
  void hold(bool on) { held_ = on; }
  /// Runs the body on copies of the batches' tensors at fixed addresses, or eagerly on the batches themselves. Where recording
  /// fails on some rank `abandon` takes back what the body had begun on the host, the reason is logged, and no more are recorded; the
  /// Error is thrown if graphs are required, or if `abandon` says that it cannot.
  [[nodiscard]] StepResult run(const std::vector<core::Batch>& batches, int64_t samples, const Body& body,
                               const std::function<bool()>& abandon);

 private:
  struct Recorded {
    std::vector<core::Batch> inputs;
    std::unique_ptr<device::Graph> graph;
    StepResult result;
  };
  struct Shape {
    int64_t seen = 0;
    std::optional<Recorded> recorded;
  };
  [[nodiscard]] bool repeats(const Shape& shape) const;
  [[nodiscard]] static std::string shape_of(const std::vector<core::Batch>& batches, int64_t samples);
  /// Why it failed here, or nothing.
  [[nodiscard]] std::optional<Error> record(Shape& shape, const std::vector<core::Batch>& batches, const Body& body,
                                            const std::function<bool()>& abandon);

  device::Backend& backend_;
  int device_;
  Mode mode_;
  Everywhere everywhere_;
  bool held_ = false;
  bool given_up_ = false;
  std::map<std::string, Shape> shapes_;
};

}  // namespace trireme::trainer
