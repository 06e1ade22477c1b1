#include "debug/described.h"
#include "debug/leaf_hooks.h"
#include "debug/seldom.h"
#include "debug/tensor_summary.h"
#include "debug/tools.h"
#include "debug/unit_watcher.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

/// Between the gradients of the unit next to the loss and of any other, root mean squares.
constexpr double flow_vanishes = 1e-6;
constexpr double flow_explodes = 1e6;
constexpr size_t most_in_digest = 200;

/// The way of the gradients back through the units to the parameters, on this rank and before any
/// reduction, and what the update makes of them.
class BackwardPass final : public InsideTool {
 public:
  BackwardPass(const Subject& subject, Journal& journal) : subject_(subject), journal_(journal) {
    for (autograd::Unit* const unit : subject_.units)
      for (const core::Parameter& p : unit->parameters())
        if (p.tensor.requires_grad())
          hooks_.add(p.tensor, [this, name = p.name](const at::Tensor& gradient) {
            if (looking_) arrived(name, gradient);
          });
  }

  [[nodiscard]] bool needs_eager_steps() const override { return true; }
  [[nodiscard]] bool reads_gradients() const override { return true; }

  void begin_step(const StepSeen& seen) override {
    step_ = seen;
    before_.clear();
    {
      const std::lock_guard lock(mutex_);
      arrivals_.clear();
      flow_.clear();
    }
    batch_.clear();
    looking_ = seen.looks;
    if (seen.looks) attendance_.emplace(subject_.units, *this);
  }

  void loss(const LossSeen& seen) override { micro_step_ = seen.micro_step; }

  void gradients(const GradientsSeen& seen) override {
    if (!step_.looks) return;
    mishap_.rethrow();
    const SideScope aside;
    if (seen.mean_scale != nullptr) batch_.add(*seen.mean_scale);
    const std::vector<TensorSummary> summaries = batch_.read();
    mean_scale_.reset();
    if (seen.mean_scale != nullptr && summaries.back().finite()) mean_scale_ = summaries.back().sum;
    digest_ = {{"step", step_.step}};
    record_arrivals(summaries);
    record_flow(summaries);
    for (const core::Parameter& p : subject_.parameters)
      before_.push_back(p.tensor.detach().clone());
  }

  void updated(const UpdateSeen& seen) override {
    if (before_.empty()) return;
    const SideScope aside;
    SummaryBatch batch;
    for (size_t i = 0; i < before_.size(); ++i) {
      batch.add(before_[i]);
      const at::Tensor now = subject_.parameters[i].tensor.detach();
      batch.add(now.to(at::kFloat) - before_[i].to(at::kFloat));
      before_[i].reset();
    }
    before_.clear();
    const std::vector<TensorSummary> summaries = batch.read();
    double largest = 0;
    bool any = false;
    json ratios = json::object();
    for (size_t i = 0; i < subject_.parameters.size(); ++i) {
      const TensorSummary &weight = summaries[2 * i], &change = summaries[2 * i + 1];
      json fields = named(subject_.parameters[i]);
      fields["weight_norm"] = weight.norm();
      fields["update_norm"] = change.norm();
      fields["unchanged"] = change.share_of_zeros();
      fields["update_ratio"] = weight.norm() > 0 ? json(change.norm() / weight.norm()) : json();
      fields["lr"] = seen.lr;
      any = any || change.norm() > 0;
      if (weight.norm() > 0 && ratios.size() < most_in_digest)
        ratios[subject_.parameters[i].name] = fields["update_ratio"];
      if (weight.norm() > 0 && change.norm() / weight.norm() > largest) {
        largest = change.norm() / weight.norm();
        digest_["largest_update"] = {{"parameter", subject_.parameters[i].name},
                                     {"ratio", largest}};
      }
      journal_.record(std::move(fields));
    }
    digest_["updated"] = any;
    digest_["update_ratios"] = std::move(ratios);
    name_part(digest_, subject_.parameters);
  }

  void end_step() override {
    attendance_.reset();
    looking_ = false;
    mishap_.rethrow();
  }

  json digest() override { return std::exchange(digest_, json::object()); }

 private:
  struct Arrival {
    std::string name;
    size_t micro_step, number;
  };
  struct Flow {
    std::string unit;
    size_t output, micro_step, number;
  };

  void arrived(const std::string& name, const at::Tensor& gradient) {
    mishap_.guard([&] {
      if (!gradient.defined()) return;
      const size_t number = batch_.add(gradient);
      const std::lock_guard lock(mutex_);
      arrivals_.push_back({name, micro_step_, number});
    });
  }

  void saw_output_gradient(autograd::Unit& unit, size_t output,
                           const at::Tensor& gradient) override {
    mishap_.guard([&] {
      const size_t number = batch_.add(gradient);
      const std::lock_guard lock(mutex_);
      flow_.push_back({unit.name(), output, micro_step_, number});
    });
  }

  void record_arrivals(const std::vector<TensorSummary>& summaries) {
    bool told = false;
    digest_["first_not_finite"] = nullptr;
    for (size_t i = 0; i < arrivals_.size(); ++i) {
      const Arrival& one = arrivals_[i];
      const TensorSummary& summary = summaries[one.number];
      json fields{{"parameter", one.name}, {"micro_step", one.micro_step}, {"arrival", i}};
      add_size(fields, summary);
      if (mean_scale_) fields["norm_in_mean"] = summary.norm() * *mean_scale_;
      journal_.record(std::move(fields));
      if (summary.finite() || std::exchange(told, true)) continue;
      digest_["first_not_finite"] = {{"parameter", one.name}, {"micro_step", one.micro_step}};
      if (seldom_.due("first", step_.step))
        journal_.finding(fmt::format(
            "step {}: the gradient of '{}' is the first of the backward pass that "
            "is not finite: {} (arrival {} of {}, micro-step {})",
            step_.step, one.name, not_finite(summary), i + 1, arrivals_.size(), one.micro_step));
    }
    digest_["arrivals"] = arrivals_.size();
  }

  void record_flow(const std::vector<TensorSummary>& summaries) {
    double near = 0;  // that of the gradient next to the loss
    json flow = json::array();
    const Flow *vanished = nullptr, *exploded = nullptr;
    for (const Flow& one : flow_) {
      const TensorSummary& summary = summaries[one.number];
      const double rms = summary.root_mean_square();
      if (near == 0) near = rms;
      const double ratio = near > 0 ? rms / near : 0;
      json fields{{"unit", one.unit}, {"output", one.output}, {"micro_step", one.micro_step}};
      add_size(fields, summary);
      fields["rms"] = rms;
      if (mean_scale_) fields["rms_in_mean"] = rms * *mean_scale_;
      fields["ratio"] = ratio;
      journal_.record(std::move(fields));
      if (one.micro_step == 0 && flow.size() < most_in_digest) flow.push_back({one.unit, rms});
      if (vanished == nullptr && near > 0 && ratio < flow_vanishes) vanished = &one;
      if (exploded == nullptr && ratio > flow_explodes) exploded = &one;
    }
    const auto tell = [&](const Flow* one, const char* what) {
      if (one == nullptr || !seldom_.due(what, step_.step)) return;
      journal_.finding(fmt::format(
          "step {}: gradients {} on their way back: {:.2g} (root mean square) next to the loss, "
          "{:.2g} at the "
          "output of unit '{}'",
          step_.step, what, near * mean_scale_.value_or(1),
          summaries[one->number].root_mean_square() * mean_scale_.value_or(1), one->unit));
    };
    tell(vanished, "vanish");
    tell(exploded, "explode");
    digest_["flow"] = std::move(flow);
    digest_["vanishes_at"] = vanished != nullptr ? json(vanished->unit) : json();
    digest_["explodes_at"] = exploded != nullptr ? json(exploded->unit) : json();
  }

  const Subject& subject_;
  Journal& journal_;
  StepSeen step_;
  size_t micro_step_ = 0;
  std::atomic<bool> looking_ = false;
  std::optional<double> mean_scale_;  // from here to the share in the mean gradient
  std::mutex mutex_;  // of what hooks write: devices have threads of their own in backward
  std::vector<Arrival> arrivals_;
  std::vector<Flow> flow_;
  SummaryBatch batch_;
  std::vector<at::Tensor> before_;  // the parameters before the update
  Seldom seldom_;
  json digest_ = json::object();
  LeafHooks hooks_;
  std::optional<Attendance> attendance_;
};

}  // namespace

ToolPtr make_backward_pass(const Subject& subject, Journal& journal) {
  return std::make_unique<BackwardPass>(subject, journal);
}

}  // namespace trireme::debug
