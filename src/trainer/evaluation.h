#pragma once

#include <memory>

#include <trireme/comm/communicator.h>
#include <trireme/data/dataset.h>
#include <trireme/data/transforms.h>
#include <trireme/model/model.h>
#include <trireme/precision/policy.h>
#include <trireme/report/records.h>

namespace trireme::trainer {

/// Evaluates on every sample of a data set exactly once, spread over all ranks. All ranks call together and get the same result.
class Evaluation {
 public:
  struct Settings {
    int64_t batch_size = 1;  ///< samples of one rank at a time
    int64_t workers = 0;
    uint64_t seed = 0;
  };
  Evaluation(std::shared_ptr<const data::Dataset> samples, data::Transforms transforms, const Settings& settings);

  [[nodiscard]] report::EvalMetrics run(model::Model& model, const precision::Policy& precision, comm::Communicator& all,
                                        int64_t step) const;

 private:
  std::shared_ptr<const data::Dataset> samples_;
  data::Transforms transforms_;
  Settings settings_;
};

/// The value of `metric` (loss, or a name of the model's); Error `configuration` naming what there is.
[[nodiscard]] double metric_of(const report::EvalMetrics& evaluation, const std::string& metric);

}  // namespace trireme::trainer
