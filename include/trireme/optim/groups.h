#pragma once

#include <trireme/core/parameters.h>
#include <trireme/optim/config.h>

#include <string>
#include <string_view>
#include <vector>

namespace trireme::optim {

/// What the configuration says about one parameter.
struct ParameterSettings {
  double lr_scale = 1.0;
  double weight_decay = 0.0;
  bool frozen = false;
  bool operator==(const ParameterSettings&) const = default;
};

/// `*` stands for any characters (dots too), `?` for one.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view name);

/// The settings of each parameter, in their order. Error `configuration` for a group that takes no
/// parameter (its pattern fits nothing, or earlier groups took all) and where nothing is left to
/// train.
[[nodiscard]] std::vector<ParameterSettings> plan_groups(const OptimConfig& config,
                                                         const core::ParameterSet& parameters);

/// Switches requires_grad off for the frozen parameters and returns the others: those that are
/// reduced and stepped.
[[nodiscard]] core::ParameterSet freeze(const OptimConfig& config,
                                        const core::ParameterSet& parameters);

}  // namespace trireme::optim
