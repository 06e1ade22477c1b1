#pragma once

#include <trireme/autograd/unit.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/parallel/config.h>
#include <trireme/parallel/data_parallel.h>
#include <trireme/telemetry/recorder.h>

#include "parallel/flat_gradients.h"
#include "parallel/flat_parameters.h"
#include "parallel/traffic.h"
#include "parallel/unit_order.h"
#include "parallel/unused_parameters.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// The strategies zero1, zero2 and fsdp (Rajbhandari et al. 2020, "ZeRO"; Zhao et al. 2023,
/// "PyTorch FSDP"): each unit's parameters lie in flat buffers that are cut over the ranks of a
/// shard group, and every rank steps its shard. What differs is what stays whole: parameters and
/// gradients, parameters alone, or nothing. Groups hold equal copies and add up their gradients.
///
/// Parameters are gathered before a unit is used, the next unit's while one computes, in the order
/// of the first step; with fsdp they are freed afterwards. Gradients are reduced when a unit's
/// backward has ended. The units of a pass must not change from step to step nor differ between
/// ranks: Error `plugin_failed` that names the unit, `ranks_differ` in the first step.
///
/// Must outlive the use of its units, which must not be moved. Where parameters are freed, they are
/// there inside of a unit's forward and backward alone.
class ShardedParameters final : public DataParallel, private autograd::UnitAttendant {
 public:
  struct Settings {
    bool free_parameters = false;    ///< fsdp
    bool free_after_forward = true;  ///< likewise, or only after backward
    bool whole_gradients = false;    ///< reduced once a step, after the last micro-step
    at::ScalarType reduce = at::kFloat;
  };
  /// `replicas`: the ranks that have the same shard in the other groups; `all`: all ranks.
  struct Ranks {
    comm::CommunicatorPtr all, shards, replicas;
  };
  ShardedParameters(Ranks ranks, const Settings& settings, telemetry::Recorder& recorder);
  ~ShardedParameters() override;

  /// Takes over the parameters of a unit that was just built, with equal values on all ranks; those
  /// that require no gradient are cut, but not reduced. Where parameters are freed they are freed
  /// at once, so that no rank ever holds the whole model.
  void add(autograd::Unit& unit);

  /// What this rank steps and saves, when all units were added: a fragment of every parameter, in
  /// their order; empty ones too. Gradients are bound.
  [[nodiscard]] const core::ParameterSet& fragments() const { return fragments_; }

  void begin_backward(bool last_micro_step) override;
  void end_backward() override;
  [[nodiscard]] ReduceReport finish() override;
  [[nodiscard]] const std::vector<at::Tensor>& flat() const override { return flat_; }
  [[nodiscard]] comm::Communicator* shard_ranks() const override { return ranks_.shards.get(); }
  void settle() override;
  void parameters_changed() override;

 private:
  struct Member;
  void before_forward(autograd::Unit& unit) override;
  void after_forward(autograd::Unit& unit) override;
  void before_backward(autograd::Unit& unit) override;
  void after_backward(autograd::Unit& unit) override;

  [[nodiscard]] size_t index_of(const autograd::Unit& unit) const;
  void enter(UnitOrder& order, size_t index, const char* pass) const;
  void leave(UnitOrder& order, const char* pass) const;
  void note_need(Member& member, size_t call);
  void compare(const std::string& about_to);
  void agree_on_needs();
  void complete(Member& member);
  void name_unused(ReduceReport& report);
  void warn_of_references();

  Ranks ranks_;
  Settings settings_;
  Traffic traffic_;
  std::vector<std::unique_ptr<Member>> members_;  // a unit each, in the order of add()
  core::ParameterSet fragments_;
  std::vector<at::Tensor> flat_;
  UnitOrder forward_, backward_;
  std::unique_ptr<UnusedParameters> unused_;
  Member* reducing_ = nullptr;  // the last whose reduction was begun
  bool in_backward_ = false;
  bool last_ = false;
  bool agreed_ = false;  // what the first step told
  bool warned_ = false;
  int64_t reduced_in_backward_ = 0;
};

/// The settings of strategy zero1, zero2 or fsdp.
[[nodiscard]] ShardedParameters::Settings sharding_of(const ParallelConfig& config,
                                                      at::ScalarType reduce);

}  // namespace trireme::parallel
