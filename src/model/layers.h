#pragma once

// Small unit contents that the image and feature models share. All initial values are drawn as
// documented at each.

#include <trireme/autograd/unit.h>

#include <functional>
#include <memory>
#include <string>

namespace trireme::model {

/// {x [B, in]} to {[B, out]}: weight [out, in] and bias uniform in +-1/sqrt(in), as
/// torch.nn.Linear.
[[nodiscard]] autograd::Unit linear_unit(const std::string& name, int64_t in, int64_t out);

}  // namespace trireme::model
