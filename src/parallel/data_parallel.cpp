#include <trireme/parallel/data_parallel.h>

namespace trireme::parallel {

DataParallel::~DataParallel() = default;

}  // namespace trireme::parallel
