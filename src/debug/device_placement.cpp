#include <trireme/autograd/recompute.h>

#include "debug/copy_counter.h"
#include "debug/described.h"
#include "debug/seldom.h"
#include "debug/tools.h"
#include "debug/unit_watcher.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

/// Where parameters, buffers, batches and the inputs of units lie, and what is copied between
/// devices in a step.
class DevicePlacement final : public InsideTool {
 public:
  DevicePlacement(const Subject& subject, Journal& journal)
      : subject_(subject), journal_(journal) {}

  [[nodiscard]] bool needs_eager_steps() const override { return true; }

  void begin_step(const StepSeen& seen) override {
    step_ = seen;
    elsewhere_.clear();
    if (!seen.looks) return;
    json devices{{"device", subject_.device.str()}};
    devices["parameters"] = placed("parameter", subject_.parameters);
    devices["buffers"] = placed("buffer", subject_.buffers);
    journal_.record(std::move(devices));
    attendance_.emplace(subject_.units, *this);
    copies_ = std::make_unique<CopyCounter>();
  }

  void batch(const BatchSeen& seen) override {
    if (!step_.looks || seen.micro_batches == nullptr) return;
    for (const core::Batch& batch : *seen.micro_batches)
      for (const core::Batch::Field& field : batch.fields)
        compare("field of the batch", field.name, field.values);
  }

  void end_step() override {
    attendance_.reset();
    const std::unique_ptr<CopyCounter> counted = std::move(copies_);
    mishap_.rethrow();
    if (!counted) return;
    json copies = json::array();
    for (const auto& [way, one] : counted->copies())
      copies.push_back(
          {{"from", way.first}, {"to", way.second}, {"copies", one.copies}, {"bytes", one.bytes}});
    digest_ = {{"step", step_.step},
               {"device", subject_.device.str()},
               {"elsewhere", elsewhere_.size()},
               {"copies", copies},
               {"host_reads", counted->host_reads()}};
    journal_.record({{"copies", std::move(copies)}, {"host_reads", counted->host_reads()}});
  }

  json digest() override { return std::exchange(digest_, json::object()); }

 private:
  /// Elements by device.
  json placed(const char* kind, const core::ParameterSet& set) {
    std::map<std::string, int64_t> elements;
    for (const core::Parameter& p : set) {
      elements[p.tensor.device().str()] += p.tensor.numel();
      compare(kind, p.name, p.tensor);
    }
    return elements;
  }

  void compare(const std::string& what, const std::string& name, const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.device() == subject_.device) return;
    elsewhere_.insert(what + " " + name);
    if (!seldom_.due(what + name, step_.step)) return;
    journal_.finding(fmt::format("the {} '{}' lies on {}, while this rank computes on {}", what,
                                 name, tensor.device().str(), subject_.device.str()));
  }

  void saw_inputs(autograd::Unit& unit, const std::vector<at::Tensor>& inputs) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      for (const at::Tensor& input : inputs) {
        if (!input.defined() || input.device() == subject_.device) continue;
        journal_.record({{"unit", unit.name()}, {"input", described(input)}});
        compare("input of unit", unit.name(), input);
      }
    });
  }

  const Subject& subject_;
  Journal& journal_;
  StepSeen step_;
  std::set<std::string> elsewhere_;
  Seldom seldom_;
  json digest_ = json::object();
  std::unique_ptr<CopyCounter> copies_;
  std::optional<Attendance> attendance_;
};

}  // namespace

ToolPtr make_device_placement(const Subject& subject, Journal& journal) {
  return std::make_unique<DevicePlacement>(subject, journal);
}

}  // namespace trireme::debug
