#pragma once

#include "comm/transport.h"

#include <memory>

namespace trireme::comm {

/// Where the thread ranks of one world leave messages for each other.
class PostOffice;
[[nodiscard]] std::shared_ptr<PostOffice> make_post_office(int size);

/// The transport of one rank. A message is copied once, from the sender's memory to the receiver's,
/// by whoever comes second.
[[nodiscard]] std::unique_ptr<Transport> make_thread_transport(std::shared_ptr<PostOffice> office,
                                                               int rank);

}  // namespace trireme::comm
