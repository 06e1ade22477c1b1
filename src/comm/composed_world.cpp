#include "comm/composed_world.h"

#include "comm/boot_id.h"
#include "comm/star_side_channel.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include <unistd.h>

namespace trireme::comm {
namespace {

Error to_error(const Failure& failure) {
  return Error(failure.kind, failure.message, failure.hint);
}

class ComposedWorld final : public World {
 public:
  ComposedWorld(Launch launch, std::shared_ptr<Engine> engine, CommunicatorPtr all,
                std::vector<RankInfo> ranks, std::vector<Socket> links)
      : launch_(std::move(launch)),
        engine_(std::move(engine)),
        all_(std::move(all)),
        ranks_(std::move(ranks)) {
    std::vector<std::string> hosts;
    for (const RankInfo& rank : ranks_) hosts.push_back(rank.host);
    side_channel_ = make_star_side_channel(
        all_->rank(), std::move(hosts), std::move(links),
        [all = all_](const Failure& failure) { all->poison(to_error(failure)); });
  }

  CommunicatorPtr all() const override { return all_; }
  SideChannel& side_channel() override { return *side_channel_; }
  const Launch& launch() const override { return launch_; }
  const std::vector<RankInfo>& ranks() const override { return ranks_; }

  void finalize() override {
    // Nobody says goodbye before all have come this far.
    all_->barrier()->wait();
    side_channel_->goodbye();
    engine_->finalize();
  }

 private:
  Launch launch_;
  std::shared_ptr<Engine> engine_;
  CommunicatorPtr all_;
  std::vector<RankInfo> ranks_;
  std::unique_ptr<SideChannel> side_channel_;  // last: its thread uses the others
};

}  // namespace

std::unique_ptr<World> make_world(Launch launch, std::shared_ptr<Engine> engine,
                                  CommunicatorPtr all, std::vector<RankInfo> ranks,
                                  std::vector<Socket> links) {
  return std::make_unique<ComposedWorld>(std::move(launch), std::move(engine), std::move(all),
                                         std::move(ranks), std::move(links));
}

std::string describe_process() {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  return std::string(host) + "\n" + std::to_string(::getpid()) + "\n" + boot_id();
}

std::vector<RankInfo> rank_table(const std::vector<std::string>& descriptions) {
  std::vector<RankInfo> ranks;
  std::vector<std::string> machines;
  std::map<std::string, int> local_sizes;
  for (const std::string& description : descriptions) {
    std::istringstream lines(description);
    RankInfo rank;
    std::string pid, boot;
    std::getline(lines, rank.host);
    std::getline(lines, pid);
    std::getline(lines, boot);
    rank.pid = std::atoi(pid.c_str());
    machines.push_back(rank.host + "\n" + boot);
    rank.local_rank = local_sizes[machines.back()]++;
    ranks.push_back(std::move(rank));
  }
  for (std::size_t r = 0; r < ranks.size(); ++r) ranks[r].local_size = local_sizes[machines[r]];
  return ranks;
}

}  // namespace trireme::comm
