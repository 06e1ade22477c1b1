#include <trireme/comm/communicator.h>
#include <trireme/comm/side_channel.h>
#include <trireme/comm/world.h>

namespace trireme::comm {

Work::~Work() = default;
Communicator::~Communicator() = default;
SideChannel::~SideChannel() = default;
World::~World() = default;

}  // namespace trireme::comm
