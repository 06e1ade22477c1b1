#include <trireme/core/parameters.h>

namespace trireme::core {

int64_t elements(const ParameterSet& parameters) {
  int64_t n = 0;
  for (const Parameter& p : parameters) n += p.tensor.numel();
  return n;
}

std::vector<int64_t> elements_of_each(const ParameterSet& parameters) {
  std::vector<int64_t> elements;
  for (const Parameter& p : parameters) elements.push_back(p.tensor.numel());
  return elements;
}

}  // namespace trireme::core
