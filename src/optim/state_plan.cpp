#include "optim/state_plan.h"

#include <trireme/optim/optimizer.h>

namespace trireme::optim {

std::vector<std::string> slot_names(const OptimConfig& config) {
  if (config.name == "sgd")
    return config.momentum > 0.0 ? std::vector<std::string>{"momentum"}
                                 : std::vector<std::string>{};
  if (config.name == "adagrad") return {"square_sum"};
  if (config.name == "lion") return {"moment"};
  return {"moment", "square_moment"};
}

at::ScalarType slot_type(const OptimConfig& config) {
  return config.state == "bf16" ? at::kBFloat16 : at::kFloat;
}

bool has_master(const OptimConfig& config, at::ScalarType parameter) {
  return config.masters && parameter != at::kFloat;
}

int64_t state_bytes_per_element(const OptimConfig& config, at::ScalarType parameter) {
  const auto slots = static_cast<int64_t>(slot_names(config).size());
  return slots * static_cast<int64_t>(c10::elementSize(slot_type(config))) +
         (has_master(config, parameter) ? static_cast<int64_t>(sizeof(float)) : 0);
}

}  // namespace trireme::optim
