#include "comm/transport.h"

namespace trireme::comm {

Flight::~Flight() = default;
Transport::~Transport() = default;

}  // namespace trireme::comm
