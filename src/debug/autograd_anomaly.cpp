#include <trireme/autograd/recompute.h>

#include "debug/backward_trail.h"
#include "debug/described.h"
#include "debug/open_calls.h"
#include "debug/seldom.h"
#include "debug/tools.h"
#include "debug/unit_watcher.h"

#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/SequenceNumber.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/function.h>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

/// Names the first operation of backward whose gradients are not finite although what it was given
/// was. A looked-at step takes many times as long: every operation remembers its stack and has all
/// of its gradients read.
class AutogradAnomaly final : public InsideTool {
 public:
  AutogradAnomaly(const Subject& subject, Journal& journal)
      : subject_(subject), journal_(journal) {}
  ~AutogradAnomaly() override { trail_->clear(); }

  [[nodiscard]] bool needs_eager_steps() const override { return true; }
  [[nodiscard]] bool reads_gradients() const override { return true; }

  void begin_step(const StepSeen& seen) override {
    step_ = seen;
    calls_.clear();
    open_.clear();
    trail_->clear();
    if (!seen.looks) return;
    stacks_.emplace();
    attendance_.emplace(subject_.units, *this);
  }

  void loss(const LossSeen& seen) override {
    if (step_.looks) trail_->watch(*seen.loss_sum, seen.micro_step);
  }

  void gradients(const GradientsSeen&) override {
    if (!step_.looks) return;
    mishap_.rethrow();
    const BackwardTrail::Verdict verdict = trail_->judge();
    digest_ = {{"step", step_.step}, {"operations", verdict.executed}, {"culprit", nullptr}};
    if (verdict.culprits.empty()) {
      journal_.record({{"operations", verdict.executed}, {"finite", true}});
      return;
    }
    report(verdict.culprits.front(), verdict.executed);
  }

  void end_step() override {
    attendance_.reset();
    stacks_.reset();
    mishap_.rethrow();
  }

  json digest() override { return std::exchange(digest_, json::object()); }

 private:
  /// Operations that a call of a unit made.
  struct Call {
    std::string unit;
    uint64_t thread = 0, begin = 0, end = 0;
  };

  void before_forward(autograd::Unit& unit) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      open_.open({.unit = unit.name(),
                  .thread = at::RecordFunction::currentThreadId(),
                  .begin = at::sequence_number::peek()});
    });
  }
  void after_forward(autograd::Unit& unit) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      std::optional<Call> call = open_.close(unit.name());
      if (!call) return;
      call->end = at::sequence_number::peek();
      calls_.push_back(std::move(*call));
    });
  }

  /// The innermost unit that the operation was made in; calls are in the order of their ends.
  [[nodiscard]] std::optional<std::string> unit_of(const torch::autograd::Node& node) const {
    for (const Call& call : calls_)
      if (call.thread == node.thread_id() && call.begin <= node.sequence_nr() &&
          node.sequence_nr() < call.end)
        return call.unit;
    return std::nullopt;
  }

  void report(const BackwardTrail::Culprit& culprit, size_t executed) {
    torch::autograd::Node& node = *culprit.node;
    const std::string name = node.name();
    const std::optional<std::string> unit = unit_of(node);
    const std::vector<std::string> stack = forward_stack(node);
    const std::string where = unit ? fmt::format("in unit '{}'", *unit) : "outside of the units";
    json fields{{"node", name},
                {"unit", unit ? json(*unit) : json()},
                {"micro_step", culprit.micro_step},
                {"position", culprit.position},
                {"operations", executed},
                {"outputs", culprit.outputs},
                {"inputs_finite", !culprit.came_in},
                {"finite", false},
                {"forward_stack", stack}};
    digest_["culprit"] = {
        {"node", name}, {"unit", fields["unit"]}, {"inputs_finite", !culprit.came_in}};
    journal_.record(std::move(fields));
    if (!seldom_.due(name + where, step_.step)) return;
    std::string text = fmt::format("step {}: ", step_.step);
    if (culprit.came_in)
      text += fmt::format("the gradient that enters {} {} is not finite; no operation made it so",
                          name, where);
    else
      text += fmt::format(
          "{} {} is the first operation of backward whose gradients are not finite while what it "
          "was given is "
          "(outputs {}, operation {} of {})",
          name, where, fmt::join(culprit.outputs, ", "), culprit.position + 1, executed);
    if (!stack.empty()) text += "; called in " + stack.front();
    journal_.finding(text);
  }

  const Subject& subject_;
  Journal& journal_;
  StepSeen step_;
  OpenCalls<Call> open_;
  std::vector<Call> calls_;
  std::shared_ptr<BackwardTrail> trail_ = std::make_shared<BackwardTrail>();
  Seldom seldom_;
  json digest_ = json::object();
  std::optional<RememberedStacks> stacks_;
  std::optional<Attendance> attendance_;
};

}  // namespace

ToolPtr make_autograd_anomaly(const Subject& subject, Journal& journal) {
  return std::make_unique<AutogradAnomaly>(subject, journal);
}

}  // namespace trireme::debug
