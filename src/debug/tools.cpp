#include "debug/tools.h"

#include <trireme/core/error.h>

#include <string>

namespace trireme::debug {

std::unique_ptr<Tool> make_tool(Switch which, const Subject& subject, Journal& journal) {
  switch (which) {
    case Switch::autograd_anomaly:
      return make_autograd_anomaly(subject, journal);
    case Switch::memory_usage:
      return make_memory_usage(subject, journal);
    case Switch::gradient_norms:
      return make_gradient_norms(subject, journal);
    case Switch::forward_pass:
      return make_forward_pass(subject, journal);
    case Switch::backward_pass:
      return make_backward_pass(subject, journal);
    case Switch::device_placement:
      return make_device_placement(subject, journal);
    case Switch::mixed_precision:
      return make_mixed_precision(subject, journal);
    case Switch::data_loading:
      return make_data_loading(subject, journal);
    case Switch::validation:
      return make_validation(subject, journal);
    case Switch::early_stopping:
      return make_early_stopping(subject, journal);
    case Switch::lr_scheduling:
      return make_lr_scheduling(subject, journal);
    case Switch::autograd_profiler:
    case Switch::tensorboard_profiler:
      break;
  }
  check(false, "the profiler " + std::string(name_of(which)) + " is not a tool");
  return nullptr;
}

}  // namespace trireme::debug
