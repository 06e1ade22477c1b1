#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <trireme/core/parameters.h>
#include <trireme/core/state.h>

namespace trireme::core {

/// A box of a logical tensor whose elements lie one after the other in a run of the flattened tensor.
struct RunBox {
  Box box;
  int64_t offset = 0;  ///< of its first element in the run
};

/// The boxes that elements [begin, begin + elements) of the flattened tensor consist of, in their order: at most twice the
/// dimensions less one.
[[nodiscard]] std::vector<RunBox> boxes_of_run(at::IntArrayRef shape, int64_t begin, int64_t elements);

/// Saves `values`, which belong to `parameter` and are laid out like it (its own, a moment, an average), under `name`: whole
/// ones as replicated, fragments as boxes.
void save_values(StateWriter& out, const std::string& name, const Parameter& parameter, const at::Tensor& values);

/// The inverse, into the memory of `into`, past autograd.
void load_values(const StateReader& in, const std::string& name, const Parameter& parameter, const at::Tensor& into);

}  // namespace trireme::core
