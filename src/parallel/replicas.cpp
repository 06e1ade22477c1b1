#include <trireme/core/error.h>
#include <trireme/core/random.h>
#include <trireme/parallel/replicas.h>

#include <array>
#include <cstring>
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

}  // namespace

int64_t broadcast_parameters(comm::Communicator& communicator, const core::ParameterSet& parameters,
                             const core::ParameterSet& buffers) {
  core::ParameterSet all = parameters;
  all.insert(all.end(), buffers.begin(), buffers.end());
  std::vector<Digest> mine;
  for (const core::Parameter& p : all) mine.push_back(digest_of(p));
  const std::vector<std::string> gathered = communicator.all_gather_bytes(
      {reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(Digest)});
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
