#pragma once

#include <array>
#include <optional>
#include <vector>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace trireme::autograd {

/// This thread's autocast, for the CPU and for CUDA.
struct AutocastState {
  static constexpr std::array devices{at::kCPU, at::kCUDA};
  std::array<bool, devices.size()> enabled{};
  std::array<at::ScalarType, devices.size()> types{};

  [[nodiscard]] static AutocastState now();
  [[nodiscard]] bool any() const { return enabled[0] || enabled[1]; }
};

/// While it lives, operations of this thread run under that state. Casts are not cached: LibTorch's
/// cache would keep them beyond the scope, until the parameters have changed.
class AutocastStateScope {
 public:
  explicit AutocastStateScope(const AutocastState& state);
  ~AutocastStateScope();
  AutocastStateScope(const AutocastStateScope&) = delete;
  AutocastStateScope& operator=(const AutocastStateScope&) = delete;

 private:
  AutocastState outer_;
  bool outer_cache_;
};

/// The states of the default generators of the CPU and of the inputs' devices, or nothing.
class GeneratorStates {
 public:
  GeneratorStates() = default;
  [[nodiscard]] static GeneratorStates now(const std::vector<at::Tensor>& inputs);

  /// Whether the generators stand where they stood.
  [[nodiscard]] bool still_hold() const;
  void put_back() const;
  /// The states of the same generators now.
  [[nodiscard]] GeneratorStates current() const;

 private:
  struct One {
    at::Generator generator;
    at::Tensor state;
  };
  std::vector<One> all_;
};

/// While it lives, the generators go on from `states`; afterwards from where they stood before.
class GeneratorStatesScope {
 public:
  explicit GeneratorStatesScope(const GeneratorStates& states);
  ~GeneratorStatesScope();
  GeneratorStatesScope(const GeneratorStatesScope&) = delete;
  GeneratorStatesScope& operator=(const GeneratorStatesScope&) = delete;

 private:
  GeneratorStates outer_;
};

}  // namespace trireme::autograd
