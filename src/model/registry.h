#pragma once

#include <trireme/model/model.h>

#include "model/config.h"

#include <memory>

namespace trireme::model {

/// The model of a configuration, not built. Throws kind `configuration` where settings do not fit
/// together.
[[nodiscard]] std::unique_ptr<Model> create_model(const ModelConfig& config);

}  // namespace trireme::model
