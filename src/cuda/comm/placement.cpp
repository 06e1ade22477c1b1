#include "cuda/comm/placement.h"

#include <trireme/core/error.h>

#include <charconv>
#include <map>
#include <sstream>

#include <fmt/core.h>

namespace trireme::cuda {
namespace {

std::string in_one_line(std::string text) {
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

int number(const std::string& text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::string encode(const Placement& p) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n", in_one_line(p.host), p.pid, p.device,
                     in_one_line(p.uuid), in_one_line(p.library), in_one_line(p.problem));
}

Placement decode_placement(const std::string& text) {
  std::istringstream lines(text);
  std::string pid, device;
  Placement p;
  std::getline(lines, p.host);
  std::getline(lines, pid);
  std::getline(lines, device);
  std::getline(lines, p.uuid);
  std::getline(lines, p.library);
  std::getline(lines, p.problem);
  p.pid = number(pid);
  p.device = number(device);
  return p;
}

void check_placements(std::span<const Placement> ranks, bool may_share) {
  for (size_t r = 0; r < ranks.size(); ++r)
    if (!ranks[r].problem.empty())
      throw Error(
          ErrorKind::environment,
          fmt::format("rank {} on {} cannot use its GPU: {}", r, ranks[r].host, ranks[r].problem),
          "see what nvidia-smi says on that host, or train on the CPU");
  for (size_t r = 1; r < ranks.size(); ++r)
    if (ranks[r].library != ranks[0].library)
      throw Error(ErrorKind::environment,
                  fmt::format("rank 0 on {} has NCCL {}, rank {} on {} has {}", ranks[0].host,
                              ranks[0].library, r, ranks[r].host, ranks[r].library),
                  "install the same NCCL on all hosts");
  if (may_share) return;
  std::map<std::string, size_t> owners;
  for (size_t r = 0; r < ranks.size(); ++r)
    if (const auto [owner, fresh] = owners.emplace(ranks[r].uuid, r); !fresh)
      throw Error(ErrorKind::environment,
                  fmt::format("ranks {} and {} on {} use the same GPU {} (their devices {} and "
                              "{}), which NCCL refuses",
                              owner->second, r, ranks[r].host, ranks[r].uuid,
                              ranks[owner->second].device, ranks[r].device),
                  "start as many ranks on a host as it has GPUs, each with a device of its own");
}

bool any_gpu_is_shared(std::span<const Placement> ranks) {
  std::map<std::string, size_t> owners;
  for (size_t r = 0; r < ranks.size(); ++r)
    if (!owners.emplace(ranks[r].uuid, r).second) return true;
  return false;
}

std::vector<std::pair<std::string, std::string>> sharing_environment(const Placement& mine) {
  return {{"NCCL_HOSTID", fmt::format("{}-{}", mine.host, mine.pid)},
          {"NCCL_SOCKET_IFNAME", "lo"},
          {"NCCL_MNNVL_ENABLE", "0"},
          {"NCCL_NVLS_ENABLE", "0"},
          {"NCCL_IB_DISABLE", "1"},
          {"NCCL_MAX_CTAS", "4"},
          {"NCCL_ALGO", "Ring"},
          {"NCCL_PROTO", "Simple"}};
}

}  // namespace trireme::cuda
