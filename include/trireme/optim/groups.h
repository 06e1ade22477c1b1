#pragma once

#include <trireme/core/parameters.h>
#include <trireme/optim/config.h>

#include <set>
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

/// The names of those that are not trained.
[[nodiscard]] std::set<std::string> frozen_names(const OptimConfig& config,
                                                 const core::ParameterSet& parameters);

}  // namespace trireme::optim
