#include <trireme/comm/local.h>
#include <trireme/comm/thread.h>

#include "comm/ranked_communicator.h"
#include "comm/thread_transport.h"

#include <string>
#include <utility>

namespace trireme::comm {

std::vector<CommunicatorPtr> make_thread_communicators(int ranks) {
  check(ranks > 0, "a world has at least one rank");
  const auto office = make_post_office(ranks);
  std::vector<CommunicatorPtr> all;
  for (int r = 0; r < ranks; ++r) {
    auto engine = std::make_shared<Engine>(
        "comm-" + std::to_string(r), [office, r] { return make_thread_transport(office, r); },
        ranks == 1);
    all.push_back(make_communicator(std::move(engine), world_group(r, ranks)));
  }
  return all;
}

CommunicatorPtr make_local_communicator() {
  return make_thread_communicators(1).front();
}

}  // namespace trireme::comm
