#include <trireme/core/parameters.h>

namespace trireme::core {

int64_t elements(const ParameterSet& parameters) {
  int64_t n = 0;
  for (const Parameter& p : parameters) n += p.tensor.numel();
  return n;
}

}  // namespace trireme::core
