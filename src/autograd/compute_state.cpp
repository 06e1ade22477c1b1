#include "autograd/compute_state.h"

#include <algorithm>
#include <mutex>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

namespace trireme::autograd {

namespace {

void apply(const AutocastState& state) {
  for (size_t i = 0; i < AutocastState::devices.size(); ++i) {
    at::autocast::set_autocast_enabled(AutocastState::devices[i], state.enabled[i]);
    at::autocast::set_autocast_dtype(AutocastState::devices[i], state.types[i]);
  }
}

at::Tensor state_of(at::Generator generator) {
  const std::lock_guard lock(generator.mutex());
  return generator.get_state();
}

}  // namespace

AutocastState AutocastState::now() {
  AutocastState state;
  for (size_t i = 0; i < devices.size(); ++i) {
    state.enabled[i] = at::autocast::is_autocast_enabled(devices[i]);
    state.types[i] = at::autocast::get_autocast_dtype(devices[i]);
  }
  return state;
}

AutocastStateScope::AutocastStateScope(const AutocastState& state)
    : outer_(AutocastState::now()), outer_cache_(at::autocast::is_autocast_cache_enabled()) {
  apply(state);
  at::autocast::set_autocast_cache_enabled(false);
}

AutocastStateScope::~AutocastStateScope() {
  apply(outer_);
  at::autocast::set_autocast_cache_enabled(outer_cache_);
}

GeneratorStates GeneratorStates::now(const std::vector<at::Tensor>& inputs) {
  GeneratorStates states;
  const auto add = [&](const at::Generator& generator) {
    const bool known = std::any_of(states.all_.begin(), states.all_.end(),
                                   [&](const One& one) { return one.generator == generator; });
    if (!known) states.all_.push_back({generator, state_of(generator)});
  };
  add(at::globalContext().defaultGenerator(at::Device(at::kCPU)));
  for (const at::Tensor& input : inputs)
    if (input.defined() && input.is_cuda())
      add(at::globalContext().defaultGenerator(input.device()));
  return states;
}

bool GeneratorStates::still_hold() const {
  return std::all_of(all_.begin(), all_.end(),
                     [](const One& one) { return at::equal(one.state, state_of(one.generator)); });
}

void GeneratorStates::put_back() const {
  for (One one : all_) {
    const std::lock_guard lock(one.generator.mutex());
    one.generator.set_state(one.state);
  }
}

GeneratorStates GeneratorStates::current() const {
  GeneratorStates states;
  for (const One& one : all_) states.all_.push_back({one.generator, state_of(one.generator)});
  return states;
}

GeneratorStatesScope::GeneratorStatesScope(const GeneratorStates& states)
    : outer_(states.current()) {
  states.put_back();
}

GeneratorStatesScope::~GeneratorStatesScope() {
  outer_.put_back();
}

}  // namespace trireme::autograd
