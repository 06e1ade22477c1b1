#include "trainer/evaluation.h"

#include <trireme/core/error.h>

#include "trainer/device_feed.h"

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
  loading.recorder = settings.recorder;
  loading.section = "load_evaluation_batch";
  loader_ = data::evaluation_loader(std::move(samples), std::move(transforms), loading);
}

report::EvalMetrics Evaluation::run(model::Model& model, const precision::Precision& precision, at::Device device, int64_t step,
                                    Here* here) {
  const at::NoGradGuard no_grad;
  model.set_training(false);
  at::Tensor sums;  // loss, weight, then the metrics: on the device, read once at the end
  double samples = 0;
  std::vector<std::string> names;
  loader_->restart(0);
  while (const auto loaded = loader_->next()) {
    for (const core::Batch& batch : loaded->micro_batches) {
      if (!device.is_cpu()) model.check_batch(batch);
      const precision::PrecisionScope scope(precision, device.type());
      const model::LossSums part = model.loss(on_device(batch, device));
      std::vector<at::Tensor> numbers = {part.loss_sum, part.weight};
      for (const auto& metric : part.metrics) numbers.push_back(metric.second);
      for (at::Tensor& number : numbers) number = number.to(device, at::kDouble);
      if (names.empty())
        for (const auto& metric : part.metrics) names.push_back(metric.first);
      const at::Tensor added = at::stack(numbers);
      sums = sums.defined() ? sums + added : added;
      samples += static_cast<double>(batch.size());
      if (here == nullptr || batch.size() == 0) continue;
      here->samples.insert(here->samples.end(), batch.samples.begin(), batch.samples.end());
      here->batches += 1;
    }
  }
  model.set_training(true);

  check(sums.defined(), "every rank sees at least one batch, if an empty one");
  const at::Tensor total = at::cat({sums.cpu(), at::full({1}, samples, at::kDouble)});
  all_.all_reduce(total)->wait();
  const double* values = total.const_data_ptr<double>();
  const double weight = values[1] > 0 ? values[1] : 1.0;
  report::EvalMetrics result;
  result.step = step;
  result.loss = values[0] / weight;
  result.samples = static_cast<int64_t>(values[total.numel() - 1]);
  for (size_t i = 0; i < names.size(); ++i) result.metrics.emplace_back(names[i], values[2 + i] / weight);
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
