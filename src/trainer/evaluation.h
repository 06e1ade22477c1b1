#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <trireme/comm/communicator.h>
#include <trireme/data/dataset.h>
#include <trireme/data/loader.h>
#include <trireme/data/transforms.h>
#include <trireme/model/model.h>
#include <trireme/precision/precision.h>
#include <trireme/precision/scope.h>
#include <trireme/report/records.h>

namespace trireme::trainer {

/// Evaluates on every sample of a data set exactly once, spread over all ranks. All ranks call together and get the same result.
class Evaluation {
 public:
  struct Settings {
    int64_t batch_size = 1;  ///< samples of one rank at a time
    int64_t workers = 0;
    telemetry::Recorder* recorder = nullptr;
  };
  Evaluation(std::shared_ptr<const data::Dataset> samples, data::TransformChain transforms, const Settings& settings,
             comm::Communicator& all);

  /// What this rank did of one evaluation.
  struct Here {
    std::vector<int64_t> samples;  ///< their ids
    int64_t batches = 0;
  };
  [[nodiscard]] report::EvalMetrics run(model::Model& model, const precision::Precision& precision, at::Device device, int64_t step,
                                        Here* here = nullptr);

 private:
  comm::Communicator& all_;  // on the host
  std::unique_ptr<data::Loader> loader_;
};

/// The value of `metric` (loss, or a name of the model's); Error `configuration` naming what there is.
[[nodiscard]] double metric_of(const report::EvalMetrics& evaluation, const std::string& metric);

}  // namespace trireme::trainer
