#include <trireme/telemetry/span_log.h>

#include "debug/described.h"
#include "debug/seldom.h"
#include "debug/side_scope.h"
#include "debug/tensor_summary.h"
#include "debug/tools.h"

#include <algorithm>
#include <deque>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

constexpr size_t judged_steps = 10;
constexpr double long_wait = 0.2;  // of the steps' time

/// How many values an integral field has and which comes most often: of labels and tokens.
void add_counts(json& to, const at::Tensor& values) {
  const at::Tensor host = values.to(at::kCPU, at::kLong).contiguous();
  std::vector<int64_t> all(host.const_data_ptr<int64_t>(),
                           host.const_data_ptr<int64_t>() + host.numel());
  std::ranges::sort(all);
  int64_t distinct = 0, most = 0, most_common = 0;
  for (auto run = all.begin(); run != all.end(); ++distinct) {
    const auto end = std::upper_bound(run, all.end(), *run);
    if (end - run > most) {
      most = end - run;
      most_common = *run;
    }
    run = end;
  }
  to["distinct"] = distinct;
  if (most > 0)
    to["most_common"] = {most_common, static_cast<double>(most) / static_cast<double>(all.size())};
}

/// What the batches are, and how long the steps wait for them.
class DataLoading final : public Tool {
 public:
  DataLoading(const Subject& subject, Journal& journal) : subject_(subject), journal_(journal) {
    json facts = json::object();
    for (const auto& [name, value] : subject.facts) facts[name] = value;
    journal_.record({{"facts", std::move(facts)}});
  }

  void begin_step(const StepSeen& seen) override {
    const int64_t now = telemetry::now_ns();
    if (began_ns_ > 0) judge(static_cast<double>(now - began_ns_) * 1e-9);
    began_ns_ = now;
    wait_ = 0;
    step_ = seen;
  }

  void batch(const BatchSeen& seen) override {
    wait_ = seen.wait_seconds;
    const int64_t here = samples_of(seen);
    json fields{{"epoch", seen.epoch},
                {"position", seen.position},
                {"global_count", seen.global_count},
                {"samples_here", here},
                {"micro_batches", seen.micro_batches->size()},
                {"wait_seconds", seen.wait_seconds},
                {"load_seconds", seen.load_seconds},
                {"ready", seen.ready}};
    samples_ += here;
    ++batches_;
    waited_ += seen.wait_seconds;
    loaded_ += seen.load_seconds;
    least_ready_ = batches_ == 1 ? seen.ready : std::min(least_ready_, seen.ready);
    fields["fields"] = fields_of(seen);
    epoch_ = seen.epoch;
    journal_.record(std::move(fields));
  }

  json digest() override {
    if (batches_ == 0) return json::object();
    json all{{"step", step_.step},
             {"epoch", epoch_},
             {"batches", batches_},
             {"samples_here", samples_},
             {"wait_seconds", waited_},
             {"load_seconds", loaded_},
             {"least_ready", least_ready_},
             {"wait_share", share()},
             {"values", std::exchange(values_, json::object())}};
    batches_ = samples_ = 0;
    waited_ = loaded_ = 0;
    return all;
  }

 private:
  struct Cycle {
    double seconds, wait;
  };

  /// Of the last steps' time.
  [[nodiscard]] double share() const {
    double seconds = 0, wait = 0;
    for (const Cycle& one : cycles_) {
      seconds += std::max(one.seconds, one.wait);
      wait += one.wait;
    }
    return seconds > 0 ? wait / seconds : 0;
  }

  void judge(double seconds) {
    cycles_.push_back({seconds, wait_});
    if (cycles_.size() > judged_steps) cycles_.pop_front();
    if (cycles_.size() < judged_steps || share() <= long_wait) return;
    // One long wait, as at the start of an epoch, is another matter.
    const auto waits = std::ranges::count_if(
        cycles_, [](const Cycle& c) { return c.wait > long_wait * c.seconds; });
    if (2 * static_cast<size_t>(waits) < judged_steps || !seldom_.due("wait", step_.step)) return;
    journal_.finding(fmt::format(
        "step {}: the last {} steps waited {:.0f} % of their time for data, on average {:.1f} ms",
        step_.step, judged_steps, 100 * share(), mean_wait() * 1e3));
  }
  [[nodiscard]] double mean_wait() const {
    double wait = 0;
    for (const Cycle& one : cycles_) wait += one.wait;
    return wait / static_cast<double>(cycles_.size());
  }

  int64_t samples_of(const BatchSeen& seen) {
    std::vector<int64_t> ids;
    for (const core::Batch& batch : *seen.micro_batches)
      ids.insert(ids.end(), batch.samples.begin(), batch.samples.end());
    const auto samples = static_cast<int64_t>(ids.size());
    std::ranges::sort(ids);
    if (const auto twice = std::ranges::adjacent_find(ids);
        twice != ids.end() && seldom_.due("twice", step_.step))
      journal_.finding(fmt::format("step {}: sample {} is in this rank's batch more than once",
                                   step_.step, *twice));
    if (samples == 0 && seen.global_count >= subject_.ranks && seldom_.due("none", step_.step))
      journal_.finding(fmt::format("step {}: this rank has no sample of a batch of {}", step_.step,
                                   seen.global_count));
    return samples;
  }

  /// Of the first micro-batch; their values in steps that are looked at.
  json fields_of(const BatchSeen& seen) {
    json all = json::array();
    if (seen.micro_batches->empty()) return all;
    const core::Batch& batch = seen.micro_batches->front();
    const SideScope aside;
    SummaryBatch summaries;
    for (const core::Batch::Field& field : batch.fields) {
      json one = described(field.values);
      one["name"] = field.name;
      all.push_back(std::move(one));
      if (step_.looks) summaries.add(field.values);
    }
    if (!step_.looks) return all;
    const std::vector<TensorSummary> read = summaries.read();
    for (size_t i = 0; i < batch.fields.size(); ++i) {
      const core::Batch::Field& field = batch.fields[i];
      add_values(all[i], read[i]);
      if (at::isIntegralType(field.values.scalar_type(), /*includeBool=*/true) &&
          !field.values.is_meta())
        add_counts(all[i], field.values);
      values_[field.name] = {{"min", read[i].min}, {"max", read[i].max}, {"mean", read[i].mean()}};
      if (!read[i].finite() && seldom_.due("field" + field.name, step_.step))
        journal_.finding(
            fmt::format("step {}: the field '{}' of this rank's batch has {} (samples {})",
                        step_.step, field.name, not_finite(read[i]), first_ids(batch)));
    }
    return all;
  }

  static std::string first_ids(const core::Batch& batch) {
    const size_t most = std::min<size_t>(8, batch.samples.size());
    return fmt::format("{}{}",
                       fmt::join(batch.samples.begin(),
                                 batch.samples.begin() + static_cast<std::ptrdiff_t>(most), ", "),
                       most < batch.samples.size() ? ", ..." : "");
  }

  const Subject& subject_;
  Journal& journal_;
  StepSeen step_;
  int64_t began_ns_ = 0;
  double wait_ = 0;
  std::deque<Cycle> cycles_;
  Seldom seldom_;
  // Since the last digest.
  int64_t batches_ = 0, samples_ = 0, least_ready_ = 0, epoch_ = 0;
  double waited_ = 0, loaded_ = 0;
  json values_ = json::object();
};

}  // namespace

ToolPtr make_data_loading(const Subject& subject, Journal& journal) {
  return std::make_unique<DataLoading>(subject, journal);
}

}  // namespace trireme::debug
