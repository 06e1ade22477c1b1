#include <trireme/autograd/recompute.h>

#include "debug/described.h"
#include "debug/seldom.h"
#include "debug/tools.h"
#include "debug/unit_watcher.h"

#include <deque>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

constexpr size_t recent_steps = 50;
constexpr size_t many_left_out =
    10;  // of the recent ones; a scale that grows every 2,000 steps leaves out one

using Elements = std::map<std::string, int64_t>;  // by dtype

Elements elements_of(const core::ParameterSet& set, bool gradients = false) {
  Elements elements;
  for (const core::Parameter& p : set) {
    const at::Tensor& tensor = gradients ? p.tensor.grad() : p.tensor;
    if (tensor.defined()) elements[dtype_name(tensor.scalar_type())] += tensor.numel();
  }
  return elements;
}

/// The loss scale and the steps it costs, and the types that parameters, gradients and units'
/// outputs have.
class MixedPrecision final : public InsideTool {
 public:
  MixedPrecision(const Subject& subject, Journal& journal) : subject_(subject), journal_(journal) {}

  [[nodiscard]] bool reads_gradients() const override { return true; }

  void begin_step(const StepSeen& seen) override {
    step_ = seen;
    outputs_.clear();
    units_.clear();
    if (seen.looks) attendance_.emplace(subject_.units, *this);
  }

  void gradients(const GradientsSeen&) override {
    if (!step_.looks) return;
    mishap_.rethrow();
    types_ = {{"parameters", elements_of(subject_.parameters)},
              {"gradients", elements_of(subject_.parameters, /*gradients=*/true)},
              {"outputs", outputs_}};
    json record = types_;
    record["units"] = units_;
    journal_.record(std::move(record));
  }

  void end_step() override {
    attendance_.reset();
    mishap_.rethrow();
  }

  void decided(const Decided& seen) override {
    recent_.push_back(seen.left_out);
    if (recent_.size() > recent_steps) recent_.pop_front();
    size_t left_out = 0, in_a_row = 0;
    for (const bool one : recent_) {
      left_out += one;
      in_a_row = one ? in_a_row + 1 : 0;
    }
    std::string change = "none";
    if (scale_ && seen.loss_scale > *scale_) change = "grown";
    if (scale_ && seen.loss_scale < *scale_) change = "backed off";
    finite_ = change == "none" && !seen.left_out ? finite_ + 1 : 0;
    growths_ += change == "grown";
    back_offs_ += change == "backed off";
    scale_ = seen.loss_scale;
    steps_ += 1;
    overflows_ += seen.left_out;
    const double rate = static_cast<double>(overflows_) / static_cast<double>(steps_);
    json fields{{"decided_step", seen.step}, {"loss_scale", seen.loss_scale},
                {"change", change},          {"finite_steps_in_a_row", finite_},
                {"left_out", seen.left_out}, {"skipped", seen.skipped},
                {"overflow_rate", rate},     {"first_nonfinite_rank", seen.first_nonfinite_rank}};
    numbers_ = {{"step", seen.step},       {"loss_scale", seen.loss_scale}, {"growths", growths_},
                {"back_offs", back_offs_}, {"skipped", seen.skipped},       {"overflow_rate", rate},
                {"in_a_row", in_a_row}};
    journal_.record(std::move(fields));
    if (seen.loss_scale < 1 && seldom_.due("below", seen.step))
      journal_.finding(fmt::format(
          "step {}: the loss scale has fallen to {:.3g}, below 1: it can no longer keep small "
          "gradients; values overflow whatever it is",
          seen.step, seen.loss_scale));
    if ((left_out >= many_left_out || in_a_row >= 5) && seldom_.due("skips", seen.step))
      journal_.finding(fmt::format(
          "step {}: {} of the last {} steps were left out, {} of them just now in a row (loss "
          "scale {:.3g})",
          seen.step, left_out, recent_.size(), in_a_row, seen.loss_scale));
  }

  json digest() override {
    json all = std::exchange(numbers_, json::object());
    if (!types_.empty()) all["types"] = std::exchange(types_, json::object());
    return all;
  }

 private:
  void saw_outputs(autograd::Unit& unit, const std::vector<at::Tensor>& outputs) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      for (const at::Tensor& output : outputs)
        if (output.defined()) {
          const std::string type = dtype_name(output.scalar_type());
          outputs_[type] += 1;
          units_[unit.name()] = type;
        }
    });
  }

  const Subject& subject_;
  Journal& journal_;
  StepSeen step_;
  Elements outputs_;  // tensors, not elements
  std::map<std::string, std::string> units_;
  std::deque<bool> recent_;
  std::optional<double> scale_;
  int64_t finite_ = 0, growths_ = 0, back_offs_ = 0, steps_ = 0, overflows_ = 0;
  Seldom seldom_;
  json types_ = json::object(), numbers_ = json::object();
  std::optional<Attendance> attendance_;
};

}  // namespace

ToolPtr make_mixed_precision(const Subject& subject, Journal& journal) {
  return std::make_unique<MixedPrecision>(subject, journal);
}

}  // namespace trireme::debug
