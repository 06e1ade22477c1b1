#include <trireme/autograd/recompute.h>

#include "debug/described.h"
#include "debug/open_calls.h"
#include "debug/seldom.h"
#include "debug/tensor_summary.h"
#include "debug/tools.h"
#include "debug/unit_watcher.h"

#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

/// What goes into each unit and what comes out of it, and the loss.
class ForwardPass final : public InsideTool {
 public:
  ForwardPass(const Subject& subject, Journal& journal) : subject_(subject), journal_(journal) {}

  [[nodiscard]] bool needs_eager_steps() const override { return true; }
  [[nodiscard]] bool reads_gradients() const override { return true; }

  void begin_step(const StepSeen& seen) override {
    step_ = seen;
    micro_step_ = 0;
    calls_.clear();
    losses_.clear();
    batch_.clear();
    if (seen.looks) attendance_.emplace(subject_.units, *this);
  }

  void loss(const LossSeen& seen) override {
    if (!step_.looks) return;
    const SideScope aside;
    losses_.push_back({batch_.add(*seen.loss_sum), batch_.add(*seen.weight)});
    micro_step_ = seen.micro_step + 1;
  }

  void gradients(const GradientsSeen&) override {
    if (!step_.looks) return;
    mishap_.rethrow();
    const SideScope aside;
    const std::vector<TensorSummary> summaries = batch_.read();
    json first;
    double largest = 0;
    std::string largest_unit;
    std::set<std::string> zero;
    for (Call& call : calls_) {
      bool finite = true;
      for (size_t i = 0; i < call.outputs.size(); ++i) {
        if (call.outputs[i].is_null()) continue;
        const TensorSummary& summary = summaries[call.numbers[i]];
        add_values(call.outputs[i], summary);
        if (summary.max_abs() > largest) {
          largest = summary.max_abs();
          largest_unit = call.unit;
        }
        if (summary.elements > 0 && summary.zeros == summary.elements) zero.insert(call.unit);
        if (finite && first.is_null() && !summary.finite()) {
          tell_first(call, i, summary);
          first = {{"unit", call.unit}, {"nan", summary.nans}, {"inf", summary.infinities}};
        }
        finite = finite && summary.finite();
      }
      journal_.record({{"unit", call.unit},
                       {"micro_step", call.micro_step},
                       {"inputs", std::move(call.inputs)},
                       {"outputs", std::move(call.outputs)},
                       {"finite", finite}});
    }
    // No finding: some layers begin with weights of zero.
    digest_ = {{"step", step_.step},
               {"calls", calls_.size()},
               {"first_not_finite", first},
               {"zero", zero}};
    if (!largest_unit.empty()) digest_["largest"] = {{"unit", largest_unit}, {"max_abs", largest}};
    record_losses(summaries);
    calls_.clear();
  }

  void end_step() override {
    attendance_.reset();
    mishap_.rethrow();
  }

  json digest() override { return std::exchange(digest_, json::object()); }

 private:
  struct Call {
    std::string unit;
    size_t micro_step = 0;
    json inputs = {}, outputs = json::array();
    std::vector<size_t> numbers = {};  // of the outputs' summaries
  };
  struct Loss {
    size_t sum, weight;
  };

  void saw_inputs(autograd::Unit& unit, const std::vector<at::Tensor>& inputs) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      json all = json::array();
      for (const at::Tensor& input : inputs) all.push_back(described(input));
      open_.open({.unit = unit.name(), .micro_step = micro_step_, .inputs = std::move(all)});
    });
  }

  void saw_outputs(autograd::Unit& unit, const std::vector<at::Tensor>& outputs) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      std::optional<Call> call = open_.close(unit.name());
      if (!call) return;
      for (const at::Tensor& output : outputs) {
        call->outputs.push_back(described(output));
        call->numbers.push_back(output.defined() ? batch_.add(output) : 0);
      }
      calls_.push_back(std::move(*call));
    });
  }

  void tell_first(const Call& call, size_t output, const TensorSummary& summary) {
    if (!seldom_.due(call.unit, step_.step)) return;
    journal_.finding(fmt::format(
        "step {}: the output {} of unit '{}' is the first of the forward pass that is not finite: "
        "{}{}",
        step_.step, output, call.unit, not_finite(summary), unsound_parameter(call.unit)));
  }

  /// The parameters are still those of the forward pass.
  [[nodiscard]] std::string unsound_parameter(const std::string& unit) const {
    SummaryBatch batch;
    std::vector<std::string> names;
    for (const core::Parameter& p : subject_.parameters) {
      if (!unit.empty() && !p.name.starts_with(unit + ".")) continue;
      batch.add(p.tensor);
      names.push_back(p.name);
    }
    const std::vector<TensorSummary> summaries = batch.read();
    for (size_t i = 0; i < names.size(); ++i)
      if (!summaries[i].finite())
        return fmt::format("; its parameter '{}' has {}", names[i], not_finite(summaries[i]));
    return "; its parameters are finite";
  }

  void record_losses(const std::vector<TensorSummary>& summaries) {
    double sum = 0, weight = 0;
    bool finite = true;
    for (size_t m = 0; m < losses_.size(); ++m) {
      const TensorSummary& loss = summaries[losses_[m].sum];
      const double of = summaries[losses_[m].weight].sum;
      json fields{{"micro_step", m}, {"weight", of}, {"finite", loss.finite()}};
      fields["loss_sum"] = loss.finite() ? json(loss.sum) : json(loss.nans > 0 ? "nan" : "inf");
      fields["loss"] = loss.finite() && of > 0 ? json(loss.sum / of) : json();
      journal_.record(std::move(fields));
      sum += loss.sum;
      weight += of;
      finite = finite && loss.finite();
    }
    digest_["loss"] = finite && weight > 0 ? json(sum / weight) : json();
    if (!finite && seldom_.due("loss", step_.step))
      journal_.finding(fmt::format("step {}: the loss of this rank is not finite", step_.step));
  }

  const Subject& subject_;
  Journal& journal_;
  StepSeen step_;
  size_t micro_step_ = 0;  // that is being computed
  OpenCalls<Call> open_;
  std::vector<Call> calls_;
  std::vector<Loss> losses_;
  SummaryBatch batch_;
  Seldom seldom_;
  json digest_ = json::object();
  std::optional<Attendance> attendance_;
};

}  // namespace

ToolPtr make_forward_pass(const Subject& subject, Journal& journal) {
  return std::make_unique<ForwardPass>(subject, journal);
}

}  // namespace trireme::debug
