#include <trireme/core/error.h>
#include <trireme/core/random.h>
#include <trireme/parallel/replicas.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <fmt/format.h>

namespace trireme::parallel {

namespace {

// What ranks compare of one tensor.
struct Digest {
  uint64_t kind = 0;    // name, type and shape
  uint64_t values = 0;  // bytes
  bool operator==(const Digest&) const = default;
};

uint64_t mixed(uint64_t state, uint64_t word) {
  return core::RandomKey(state ^ word).value();
}

// Four chains side by side: one alone would wait for its multiplications.
uint64_t hash_bytes(const char* bytes, size_t count) {
  std::array<uint64_t, 4> lanes = {1, 2, 3, 4};
  size_t i = 0;
  for (; i + 32 <= count; i += 32)
    for (size_t lane = 0; lane < 4; ++lane) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i + 8 * lane, 8);
      lanes[lane] = mixed(lanes[lane], word);
    }
  uint64_t hash = count;
  for (; i < count; ++i) hash = mixed(hash, static_cast<unsigned char>(bytes[i]));
  for (const uint64_t lane : lanes) hash = mixed(hash, lane);
  return hash;
}

at::Tensor bytes_of(const at::Tensor& contiguous) {
  return contiguous.reshape({-1}).view(at::kByte);
}

std::string describe(const core::Parameter& p) {
  return fmt::format("{} {} [{}]", p.name, c10::toString(p.tensor.scalar_type()),
                     fmt::join(p.tensor.sizes().vec(), ", "));
}

Digest digest_of(const core::Parameter& p) {
  const at::Tensor values = p.tensor.detach().contiguous().cpu();
  const std::string kind = describe(p);
  return {hash_bytes(kind.data(), kind.size()),
          hash_bytes(static_cast<const char*>(values.const_data_ptr()), values.nbytes())};
}

std::vector<Digest> unpack(const std::string& bytes) {
  std::vector<Digest> digests(bytes.size() / sizeof(Digest));
  if (!digests.empty()) std::memcpy(digests.data(), bytes.data(), bytes.size());
  return digests;
}

// All ranks see all digests, so all of them throw.
void check_same_kind(const std::vector<std::vector<Digest>>& ranks, const core::ParameterSet& all) {
  const std::vector<Digest>& first = ranks.front();
  for (size_t r = 1; r < ranks.size(); ++r) {
    size_t i = 0;
    while (i < first.size() && i < ranks[r].size() && first[i].kind == ranks[r][i].kind) ++i;
    if (i == first.size() && i == ranks[r].size()) continue;
    throw Error(ErrorKind::ranks_differ,
                fmt::format("rank {} holds another model than rank 0: {} and {} tensors, the first "
                            "difference at number {}, here {}",
                            r, ranks[r].size(), first.size(), i,
                            i < all.size() ? describe(all[i]) : "behind the last"),
                "start all ranks with the same configuration, program and plugin");
  }
}

std::string bytes_of(const std::vector<Digest>& digests) {
  return {reinterpret_cast<const char*>(digests.data()), digests.size() * sizeof(Digest)};
}

// Ranks by what they hold, the largest group first; of equal ones that of the lowest rank.
std::vector<std::vector<size_t>> groups_of(const std::vector<Digest>& by_rank) {
  std::vector<std::vector<size_t>> groups;
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    const auto same = std::ranges::find_if(
        groups, [&](const auto& group) { return by_rank[group.front()] == by_rank[rank]; });
    same == groups.end() ? groups.push_back({rank}) : same->push_back(rank);
  }
  std::ranges::stable_sort(groups, std::greater(), &std::vector<size_t>::size);
  return groups;
}

Error corruption(const std::vector<std::vector<Digest>>& ranks, const core::ParameterSet& tensors,
                 int64_t step, int64_t last_equal_step) {
  std::vector<Digest> column(ranks.size());
  size_t first = 0, differing = 0;
  for (size_t i = tensors.size(); i-- > 0;) {
    std::ranges::transform(ranks, column.begin(), [i](const auto& rank) { return rank[i]; });
    if (groups_of(column).size() == 1) continue;
    first = i;
    ++differing;
  }
  std::ranges::transform(ranks, column.begin(), [&](const auto& rank) { return rank[first]; });
  const std::vector<std::vector<size_t>> groups = groups_of(column);
  std::string who;
  if (2 * groups.front().size() > ranks.size()) {
    std::vector<size_t> minority;
    for (size_t g = 1; g < groups.size(); ++g)
      minority.insert(minority.end(), groups[g].begin(), groups[g].end());
    std::ranges::sort(minority);
    who = fmt::format("rank{} {} differ{} from the other {}", minority.size() == 1 ? "" : "s",
                      fmt::join(minority, ", "), minority.size() == 1 ? "s" : "",
                      groups.front().size());
  } else {
    for (const auto& group : groups)
      who += fmt::format("{}rank{} {}", who.empty() ? "" : " against ", group.size() == 1 ? "" : "s",
                         fmt::join(group, ", "));
    who += ", without a majority";
  }
  return {ErrorKind::corruption,
          fmt::format("after step {} the ranks no longer hold the same {}: {}{}", step,
                      tensors[first].name, who,
                      differing > 1 ? fmt::format(" ({} tensors differ)", differing) : ""),
          fmt::format("test the memory and the device of that host; only checkpoints up to step {} are "
                      "known to be sound: go on from one with run.resume=PATH, without that host",
                      last_equal_step)};
}

}  // namespace

void require_equal_replicas(comm::Communicator& communicator, const core::ParameterSet& tensors,
                            int64_t step, int64_t last_equal_step) {
  std::vector<Digest> mine;
  for (const core::Parameter& p : tensors) mine.push_back(digest_of(p));
  const std::string all_of_mine = bytes_of(mine);
  const uint64_t together = hash_bytes(all_of_mine.data(), all_of_mine.size());
  const std::vector<std::string> hashes = communicator.all_gather_bytes(
      {reinterpret_cast<const char*>(&together), sizeof together});
  if (std::ranges::all_of(hashes, [&](const std::string& one) { return one == hashes.front(); }))
    return;
  std::vector<std::vector<Digest>> ranks;
  for (const std::string& bytes : communicator.all_gather_bytes(all_of_mine))
    ranks.push_back(unpack(bytes));
  check_same_kind(ranks, tensors);
  throw corruption(ranks, tensors, step, last_equal_step);
}

int64_t broadcast_parameters(comm::Communicator& communicator, const core::ParameterSet& parameters,
                             const core::ParameterSet& buffers) {
  core::ParameterSet all = parameters;
  all.insert(all.end(), buffers.begin(), buffers.end());
  std::vector<Digest> mine;
  for (const core::Parameter& p : all) mine.push_back(digest_of(p));
  const std::vector<std::string> gathered = communicator.all_gather_bytes(bytes_of(mine));
  std::vector<std::vector<Digest>> ranks;
  for (const std::string& bytes : gathered) ranks.push_back(unpack(bytes));
  check_same_kind(ranks, all);

  const at::NoGradGuard no_grad;
  int64_t sent = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    bool same = true;
    for (const std::vector<Digest>& rank : ranks) same = same && rank[i] == ranks.front()[i];
    if (same) continue;
    const at::Tensor values = all[i].tensor.detach().contiguous();
    communicator.broadcast(bytes_of(values), 0)->wait();
    if (!values.is_alias_of(all[i].tensor)) all[i].tensor.copy_(values);
    ++sent;
  }
  return sent;
}

}  // namespace trireme::parallel
