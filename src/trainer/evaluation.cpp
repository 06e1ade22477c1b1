#include "trainer/evaluation.h"

#include <trireme/core/error.h>

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace trireme::trainer {

Evaluation::Evaluation(std::shared_ptr<const data::Dataset> samples, data::TransformChain transforms, const Settings& settings,
                       comm::Communicator& all)
    : all_(all) {
  data::LoaderSettings loading;
  loading.rank = all.rank();
  loading.ranks = all.size();
  loading.batch_size = settings.batch_size;
  loading.workers = settings.workers;
  loader_ = data::evaluation_loader(std::move(samples), std::move(transforms), loading);
}

report::EvalMetrics Evaluation::run(model::Model& model, const precision::Precision& precision, at::DeviceType device, int64_t step) {
  const at::NoGradGuard no_grad;
  model.set_training(false);
  std::vector<double> sums(3, 0.0);  // loss, weight, samples; then the metrics
  std::vector<std::string> names;
  loader_->restart(0);
  while (const auto loaded = loader_->next()) {
    for (const core::Batch& batch : loaded->micro_batches) {
      const precision::PrecisionScope scope(precision, device);
      const model::LossSums part = model.loss(batch);
      if (names.empty())
        for (const auto& metric : part.metrics) names.push_back(metric.first);
      sums.resize(3 + names.size(), 0.0);
      sums[0] += part.loss_sum.item<double>();
      sums[1] += part.weight.item<double>();
      sums[2] += static_cast<double>(batch.size());
      for (size_t i = 0; i < names.size(); ++i) sums[3 + i] += part.metrics[i].second.item<double>();
    }
  }
  model.set_training(true);

  const at::Tensor total = at::tensor(sums, at::kDouble);
  all_.all_reduce(total)->wait();
  const double* values = total.const_data_ptr<double>();
  const double weight = values[1] > 0 ? values[1] : 1.0;
  report::EvalMetrics result;
  result.step = step;
  result.loss = values[0] / weight;
  result.samples = static_cast<int64_t>(values[2]);
  for (size_t i = 0; i < names.size(); ++i) result.metrics.emplace_back(names[i], values[3 + i] / weight);
  return result;
}

double metric_of(const report::EvalMetrics& evaluation, const std::string& metric) {
  if (metric == "loss") return evaluation.loss;
  std::string present = "loss";
  for (const auto& [name, value] : evaluation.metrics) {
    if (name == metric) return value;
    present += ", " + name;
  }
  throw Error(ErrorKind::configuration, fmt::format("eval.metric '{}' is none of what the model reports: {}", metric, present),
              "set eval.metric to one of them");
}

}  // namespace trireme::trainer
