#include "debug/backward_trail.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_set>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>

namespace trireme::debug {

namespace {

using torch::autograd::AnomalyMode;
using torch::autograd::Node;
using Tensors = std::vector<at::Tensor>;

/// 0-dim bool on the tensor's device; undefined where there is nothing to judge.
at::Tensor finite_flag(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.is_meta()) return {};
  const at::Tensor values = tensor.layout() == at::kStrided ? tensor : tensor._values();
  if (values.numel() == 0 || !(values.is_floating_point() || values.is_complex())) return {};
  return at::isfinite(at::linalg_vector_norm(values, std::numeric_limits<double>::infinity()));
}

std::mutex stacks_mutex;
int stacks_wanted = 0;
bool anomaly_before = false, check_before = true;

class WarningText final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override { text += warning.msg(); }
  std::string text;
};

bool of_the_program(std::string_view frame) {
  if (frame.empty() || frame.starts_with('<')) return false;
  return std::ranges::none_of(
      std::array<std::string_view, 4>{"at::", "c10::", "torch::", "std::"},
      [&](std::string_view other) { return frame.find(other) < 2 || frame.starts_with(other); });
}

}  // namespace

class BackwardTrail::Hook final : public torch::autograd::FunctionPostHook {
 public:
  Hook(std::shared_ptr<BackwardTrail> trail, Node& node, size_t micro_step)
      : trail_(std::move(trail)), node_(node), micro_step_(micro_step) {}
  Tensors operator()(const Tensors& outputs, const Tensors& inputs) override {
    trail_->mishap_.guard([&] { trail_->add(node_.getptr(), micro_step_, outputs, inputs); });
    return outputs;
  }

 private:
  std::shared_ptr<BackwardTrail> trail_;
  Node& node_;  // owns this
  size_t micro_step_;
};

void BackwardTrail::watch(const at::Tensor& loss, size_t micro_step) {
  std::vector<Node*> open{loss.grad_fn().get()};
  std::unordered_set<Node*> seen;
  while (!open.empty()) {
    Node* const node = open.back();
    open.pop_back();
    if (node == nullptr || !seen.insert(node).second) continue;
    for (const auto& edge : node->next_edges()) open.push_back(edge.function.get());
    if (node->num_outputs() > 0)
      node->add_post_hook(std::make_unique<Hook>(shared_from_this(), *node, micro_step));
  }
}

void BackwardTrail::add(const std::shared_ptr<Node>& node, size_t micro_step,
                        const Tensors& outputs, const Tensors& inputs) {
  Executed one{.node = node,
               .micro_step = micro_step,
               .first_flag = 0,
               .inputs = 0,
               .outputs = 0,
               .output_numbers = {}};
  Tensors flags;
  for (const at::Tensor& input : inputs)
    if (at::Tensor flag = finite_flag(input); flag.defined()) {
      flags.push_back(std::move(flag));
      ++one.inputs;
    }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (at::Tensor flag = finite_flag(outputs[i]); flag.defined()) {
      flags.push_back(std::move(flag));
      one.output_numbers.push_back(i);
      ++one.outputs;
    }
  const std::lock_guard lock(mutex_);
  one.first_flag = flags_.size();
  for (at::Tensor& flag : flags) flags_.push_back(std::move(flag));
  executed_.push_back(std::move(one));
}

BackwardTrail::Verdict BackwardTrail::judge() {
  mishap_.rethrow();
  std::vector<Executed> executed;
  Tensors flags;
  {
    const std::lock_guard lock(mutex_);
    executed.swap(executed_);
    flags.swap(flags_);
  }
  Verdict verdict{.executed = executed.size(), .culprits = {}};
  if (flags.empty()) return verdict;
  const SideScope aside;
  for (at::Tensor& flag : flags) flag = flag.to(flags.front().device());
  const at::Tensor host = at::stack(flags).to(at::kCPU);
  const bool* const finite = host.const_data_ptr<bool>();

  std::optional<Culprit> first;
  for (size_t i = 0; i < executed.size(); ++i) {
    const Executed& one = executed[i];
    const bool* const inputs = finite + one.first_flag;
    const bool* const outputs = inputs + one.inputs;
    std::vector<size_t> bad;
    for (size_t o = 0; o < one.outputs; ++o)
      if (!outputs[o]) bad.push_back(one.output_numbers[o]);
    const bool came_in = !std::all_of(inputs, outputs, [](bool flag) { return flag; });
    if (bad.empty() && !came_in) continue;
    if (!first || (first->came_in && !came_in))
      first = Culprit{one.node, one.micro_step, i, bad, came_in};
    if (!came_in) break;
  }
  if (first) verdict.culprits.push_back(std::move(*first));
  return verdict;
}

void BackwardTrail::clear() {
  const std::lock_guard lock(mutex_);
  executed_.clear();
  flags_.clear();
}

std::vector<std::string> forward_stack(Node& node) {
  if (!AnomalyMode::is_enabled()) return {};  // metadata() would be made for nothing
  WarningText warning;
  {
    const c10::WarningUtils::WarningHandlerGuard guard(&warning);
    node.metadata()->print_stack(node.name());
  }
  std::vector<std::string> frames;
  constexpr size_t most = 12;
  size_t at = warning.text.find("frame #");
  while (at != std::string::npos && frames.size() < most) {
    const size_t end = std::min(warning.text.find('\n', at), warning.text.size());
    const std::string line =
        warning.text.substr(at, end - at);  // "frame #3: name(args) + 0x1f (0x7f.. in library)"
    const size_t name = line.find(": ");
    if (name != std::string::npos) {
      const std::string frame = line.substr(name + 2, line.rfind(" + 0x") - name - 2);
      if (of_the_program(frame)) frames.push_back(frame.substr(0, 300));
    }
    at = warning.text.find("frame #", end);
  }
  return frames;
}

RememberedStacks::RememberedStacks() {
  const std::lock_guard lock(stacks_mutex);
  if (stacks_wanted++ > 0) return;
  anomaly_before = AnomalyMode::is_enabled();
  check_before = AnomalyMode::should_check_nan();
  AnomalyMode::set_enabled(true, anomaly_before && check_before);
}

RememberedStacks::~RememberedStacks() {
  const std::lock_guard lock(stacks_mutex);
  if (--stacks_wanted == 0) AnomalyMode::set_enabled(anomaly_before, check_before);
}

}  // namespace trireme::debug
