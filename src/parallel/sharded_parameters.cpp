#include "parallel/sharded_parameters.h"

#include <trireme/core/error.h>
#include <trireme/core/log.h>

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/format.h>

namespace trireme::parallel {

namespace {

constexpr const char* fixed_order =
    "a model that is sharded calls the same units in the same order in every step; use "
    "parallel.strategy: ddp for others";

}  // namespace

/// One unit: its flat buffers (one, where all parameters are of one type and trained), and where it
/// is in the step.
struct ShardedParameters::Member {
  struct Flat {
    std::unique_ptr<FlatParameters> parameters;
    std::unique_ptr<FlatGradients> gradients;  // null: frozen
  };
  autograd::Unit* unit = nullptr;
  std::vector<Flat> flats;
  // In this micro-step:
  size_t calls = 0;  // forwards
  size_t backwards_begun = 0, backwards_ended = 0;
  size_t references = 0;  // to the parameters, before the call under way
  bool completed = false;
  // By call, as all ranks agreed in the first step: whether its backward needs the parameters. That
  // of an embedding does not.
  std::vector<bool> needed;

  /// Calls run backward in the reverse order of their forwards; those made in vain are left out.
  [[nodiscard]] bool needed_in_next_backward() const {
    if (backwards_begun >= calls) return false;
    const auto end = needed.begin() + static_cast<std::ptrdiff_t>(calls - backwards_begun);
    return std::find(needed.begin(), end, true) != end;
  }

  [[nodiscard]] size_t count_references() const {
    size_t count = 0;
    for (const Flat& flat : flats) count += flat.parameters->references();
    return count;
  }

  void gather() {
    for (Flat& flat : flats) flat.parameters->gather();
  }
  void wait() {
    for (Flat& flat : flats) flat.parameters->wait();
  }
  void free() {
    for (Flat& flat : flats) flat.parameters->free();
  }
  template <class Do>
  void for_gradients(const Do& work) {
    for (Flat& flat : flats)
      if (flat.gradients) work(*flat.gradients);
  }
};

ShardedParameters::Settings sharding_of(const ParallelConfig& config, at::ScalarType reduce) {
  const bool cut_gradients = config.strategy != "zero1" && config.reduce_every_micro_step;
  return {.free_parameters = config.strategy == "fsdp",
          .free_after_forward = config.free_after_forward,
          .whole_gradients = !cut_gradients,
          .reduce = reduce};
}

ShardedParameters::ShardedParameters(Ranks ranks, const Settings& settings,
                                     telemetry::Recorder& recorder)
    : ranks_(std::move(ranks)), settings_(settings), traffic_(&recorder) {}

ShardedParameters::~ShardedParameters() {
  for (const auto& member : members_) member->unit->remove_attendant(*this);
}

void ShardedParameters::add(autograd::Unit& unit) {
  auto member = std::make_unique<Member>();
  member->unit = &unit;
  const core::ParameterSet parameters = unit.parameters();
  std::vector<core::ParameterSet> groups;
  const auto alike = [](const core::Parameter& a, const core::Parameter& b) {
    return a.tensor.scalar_type() == b.tensor.scalar_type() &&
           a.tensor.requires_grad() == b.tensor.requires_grad();
  };
  for (const core::Parameter& p : parameters) {
    const auto group =
        std::ranges::find_if(groups, [&](const auto& one) { return alike(one.front(), p); });
    if (group == groups.end())
      groups.push_back({p});
    else
      group->push_back(p);
  }
  core::ParameterSet fragments = parameters;  // each is replaced below
  for (const core::ParameterSet& group : groups) {
    Member::Flat& flat = member->flats.emplace_back();
    flat.parameters =
        std::make_unique<FlatParameters>(ranks_.shards, group, settings_.free_parameters, traffic_);
    if (group.front().tensor.requires_grad()) {
      flat.gradients = std::make_unique<FlatGradients>(
          ranks_.shards, ranks_.replicas, group, flat.parameters->plan(),
          FlatGradients::Settings{settings_.whole_gradients, settings_.reduce}, traffic_);
      flat_.push_back(flat.gradients->shard());
    }
    const std::vector<ShardPart> parts = parts_of(flat.parameters->plan(), ranks_.shards->rank());
    for (size_t i = 0; i < group.size(); ++i) {
      const auto of_shard = [&](const at::Tensor& shard) {
        return shard.narrow(0, parts[i].offset, parts[i].elements);
      };
      core::Parameter fragment{group[i].name, of_shard(flat.parameters->shard()).detach(),
                               core::Fragment{group[i].tensor.sizes().vec(), parts[i].begin,
                                              ranks_.replicas->rank() == 0}};
      if (flat.gradients) fragment.tensor.mutable_grad() = of_shard(flat.gradients->shard());
      *std::ranges::find(fragments, fragment.name, &core::Parameter::name) = std::move(fragment);
    }
    flat.parameters->free();
  }
  fragments_.insert(fragments_.end(), fragments.begin(), fragments.end());
  unit.add_attendant(*this);
  members_.push_back(std::move(member));
}

size_t ShardedParameters::index_of(const autograd::Unit& unit) const {
  const auto found =
      std::ranges::find_if(members_, [&](const auto& member) { return member->unit == &unit; });
  check(found != members_.end(), "a unit that was never added is attended");
  return static_cast<size_t>(found - members_.begin());
}

void ShardedParameters::enter(UnitOrder& order, size_t index, const char* pass) const {
  if (!order.enter(index)) {
    const auto expected = order.expected();
    throw Error(ErrorKind::plugin_failed,
                fmt::format("unit '{}' is called in {} where the steps before {}",
                            members_[index]->unit->name(), pass,
                            expected ? "called '" + members_[*expected]->unit->name() + "'"
                                     : std::string("had ended")),
                fixed_order);
  }
}

void ShardedParameters::leave(UnitOrder& order, const char* pass) const {
  const auto missing = order.expected();
  if (!order.end())
    throw Error(ErrorKind::plugin_failed,
                fmt::format("{} ended without unit '{}', which the steps before called", pass,
                            members_[*missing]->unit->name()),
                fixed_order);
}

void ShardedParameters::before_forward(autograd::Unit& unit) {
  const size_t index = index_of(unit);
  Member& member = *members_[index];
  const bool training = at::GradMode::is_enabled() && !in_backward_;
  if (training) {
    if (!agreed_) compare("call unit '" + unit.name() + "'");
    enter(forward_, index, "forward");
  }
  member.gather();
  member.wait();
  if (in_backward_) return;  // an outer unit is recomputed
  if (training) {
    // While this one computes.
    if (const auto next = forward_.next()) members_[*next]->gather();
    member.references = member.count_references();
    return;
  }
  // The order is likely that of training.
  const std::vector<size_t>& units = forward_.units();
  const auto here = std::ranges::find(units, index);
  if (forward_.known() && here != units.end() && here + 1 != units.end())
    members_[*(here + 1)]->gather();
}

void ShardedParameters::after_forward(autograd::Unit& unit) {
  if (in_backward_) return;
  const size_t index = index_of(unit);
  Member& member = *members_[index];
  if (!at::GradMode::is_enabled()) return member.free();
  note_need(member, member.calls++);
  if (!settings_.free_after_forward) return;
  // The last of the pass is the first of backward.
  const bool stays = forward_.known() && (!forward_.next() || forward_.next() == index);
  if (!stays) member.free();
}

/// Whether the backward of this call will need the parameters.
void ShardedParameters::note_need(Member& member, size_t call) {
  const bool kept =
      member.unit->activations().recompute != autograd::Unit::Activations::Recompute::none ||
      member.count_references() > member.references;
  if (!agreed_) {
    member.needed.push_back(kept);
  } else if (kept && !member.needed.at(call)) {
    throw Error(ErrorKind::plugin_failed,
                "unit '" + member.unit->name() +
                    "' keeps parameters for its backward, which it did not in the first step",
                fixed_order);
  }
}

void ShardedParameters::begin_backward(bool last_micro_step) {
  last_ = last_micro_step;
  in_backward_ = true;
  leave(forward_, "forward");
  if (!agreed_) {
    compare("run backward");
    agree_on_needs();
    agreed_ = true;
  }
  for (const auto& member : members_) {
    member->completed = false;
    member->backwards_begun = member->backwards_ended = 0;
    member->for_gradients([&](FlatGradients& gradients) { gradients.begin(last_micro_step); });
  }
}

/// In the first step, where no rank knows what comes: all see what all are about to do, so all of
/// them throw if it differs, instead of waiting for each other.
void ShardedParameters::compare(const std::string& about_to) {
  const std::vector<std::string> all = ranks_.all->all_gather_bytes(about_to);
  for (size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0])
      throw Error(
          ErrorKind::ranks_differ,
          fmt::format("in the first step rank 0 is about to {}, rank {} to {}", all[0], r, all[r]),
          "the calls of a sharded model must not depend on the data");
}

/// What any rank needs for backward all of them gather.
void ShardedParameters::agree_on_needs() {
  std::string needs;
  for (const auto& member : members_)
    for (const bool needed : member->needed) needs += needed ? '1' : '0';
  const std::vector<std::string> all = ranks_.all->all_gather_bytes(needs);
  size_t next = 0;
  for (const auto& member : members_)
    for (size_t call = 0; call < member->needed.size(); ++call, ++next)
      for (const std::string& one : all)
        if (one[next] == '1') member->needed[call] = true;
}

/// Makes the unit whole and, while its backward computes, the one after it.
void ShardedParameters::before_backward(autograd::Unit& unit) {
  const size_t index = index_of(unit);
  enter(backward_, index, "backward");
  Member& member = *members_[index];
  if (member.needed_in_next_backward()) {
    member.gather();
    member.wait();
  }
  ++member.backwards_begun;
  if (const auto next = backward_.next())
    if (Member& after = *members_[*next]; after.needed_in_next_backward()) after.gather();
}

void ShardedParameters::after_backward(autograd::Unit& unit) {
  Member& member = *members_[index_of(unit)];
  if (++member.backwards_ended == member.calls) {
    complete(member);
    ++reduced_in_backward_;
  } else {
    member.free();
  }
}

/// All gradients of the micro-step are there: what is missing now was not used.
void ShardedParameters::complete(Member& member) {
  if (std::exchange(member.completed, true)) return;
  // One reduction at a time: its gradients take as much memory as the parameters.
  if (reducing_ != nullptr)
    reducing_->for_gradients([](FlatGradients& gradients) { gradients.settle(); });
  member.for_gradients([](FlatGradients& gradients) { gradients.reduce(); });
  reducing_ = &member;
  member.calls = 0;
  member.free();
}

void ShardedParameters::end_backward() {
  // What could not tell its end, and what was not used at all: in one order on all ranks.
  for (size_t i = members_.size(); i-- > 0;) complete(*members_[i]);
  leave(backward_, "backward");
  in_backward_ = false;
}

ReduceReport ShardedParameters::finish() {
  check(last_ && !in_backward_, "finish() comes once, after the last micro-step");
  const at::NoGradGuard no_grad;
  settle();
  for (const auto& member : members_)
    member->for_gradients([](FlatGradients& gradients) { gradients.finish(); });
  reducing_ = nullptr;
  last_ = false;
  ReduceReport report;
  name_unused(report);
  warn_of_references();
  traffic_.tell(report);
  report.buckets_in_backward = std::exchange(reduced_in_backward_, 0);
  return report;
}

void ShardedParameters::name_unused(ReduceReport& report) {
  core::ParameterSet parameters;
  std::vector<float> touched;
  for (const auto& member : members_)
    for (Member::Flat& flat : member->flats) {
      if (!flat.gradients) continue;
      const core::ParameterSet& trained = flat.parameters->parameters();
      parameters.insert(parameters.end(), trained.begin(), trained.end());
      for (const bool one : flat.gradients->touched()) touched.push_back(one ? 1.0F : 0.0F);
      flat.gradients->clear_touched();
    }
  if (!unused_) unused_ = std::make_unique<UnusedParameters>(flat_.front().device(), *ranks_.all);
  unused_->begin(at::tensor(touched, at::kFloat));
  unused_->name(parameters, traffic_, report);
}

/// No graph is alive any more, so nobody else has reason to hold what is about to be freed.
void ShardedParameters::warn_of_references() {
  if (warned_) return;
  for (const auto& member : members_)
    for (const Member::Flat& flat : member->flats) {
      if (!flat.parameters->freeable() || !flat.parameters->referenced_elsewhere()) continue;
      log::warning(
          "unit '{}': something keeps references to its parameters beyond its forward and "
          "backward, when their memory is freed; using them there will crash",
          member->unit->name());
      warned_ = true;
    }
}

void ShardedParameters::settle() {
  const at::NoGradGuard no_grad;
  for (const auto& member : members_) {
    member->for_gradients([](FlatGradients& gradients) { gradients.settle(); });
    for (Member::Flat& flat : member->flats) flat.parameters->settle();
  }
}

void ShardedParameters::parameters_changed() {
  for (const auto& member : members_)
    for (Member::Flat& flat : member->flats) {
      if (!flat.gradients) continue;
      flat.parameters->invalidate();
      if (!settings_.free_parameters) flat.parameters->gather();
    }
}

}  // namespace trireme::parallel
