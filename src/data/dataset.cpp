#include <trireme/data/dataset.h>

namespace trireme::data {

Dataset::~Dataset() = default;

}  // namespace trireme::data
