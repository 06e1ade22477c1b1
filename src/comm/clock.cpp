#include <trireme/comm/clock.h>
#include <trireme/telemetry/span_log.h>

#include "comm/boot_id.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

namespace trireme::comm {
namespace {

/// Of so many one is quick: round trips vary by what else the ranks do.
constexpr int exchanges = 32;
static_assert(std::is_trivially_copyable_v<ClockOffset>);

/// Owned by the operations that move it, so that it outlives a failed one.
class Note {
 public:
  Note() : tensor_(at::empty({1}, at::kLong)) { value() = 0; }
  [[nodiscard]] int64_t& value() const { return *static_cast<int64_t*>(tensor_.data_ptr()); }
  [[nodiscard]] const at::Tensor& tensor() const { return tensor_; }

 private:
  at::Tensor tensor_;
};

void answer(Communicator& all, int rank, const ClockSource& clock) {
  const Note note;
  for (int i = 0; i < exchanges; ++i) {
    all.recv(note.tensor(), rank)->wait();
    note.value() = clock();
    all.send(note.tensor(), rank)->wait();
  }
}

ClockOffset ask(Communicator& all, const ClockSource& clock) {
  ClockOffset best{.uncertainty_ns = std::numeric_limits<int64_t>::max()};
  const Note question, reply;
  for (int i = 0; i < exchanges; ++i) {
    const int64_t before = clock();
    const WorkPtr sent = all.send(question.tensor(), 0);
    all.recv(reply.tensor(), 0)->wait();
    sent->wait();
    const int64_t after = clock();
    // Rank 0 read its clock at some moment between.
    const int64_t uncertainty = (after - before + 1) / 2;
    if (uncertainty >= best.uncertainty_ns) continue;
    const int64_t middle = before + (after - before) / 2;
    best = {.at_ns = middle, .offset_ns = reply.value() - middle, .uncertainty_ns = uncertainty};
  }
  return best;
}

/// What all processes that read the same clock have in common: the host since it was started, and
/// the namespace of times. Empty where that is not known.
std::string clock_of_this_host() {
  const std::string boot = boot_id();
  std::error_code error;
  const auto space = std::filesystem::read_symlink("/proc/self/ns/time", error);
  return boot.empty() ? boot : boot + " " + (error ? std::string() : space.string());
}

/// The lowest rank that reads the same clock, by rank.
std::vector<int> readers_of(const std::vector<std::string>& clocks) {
  std::vector<int> first;
  for (size_t r = 0; r < clocks.size(); ++r) {
    size_t reader = 0;
    while (reader < r && (clocks[r].empty() || clocks[reader] != clocks[r])) ++reader;
    first.push_back(static_cast<int>(reader));
  }
  return first;
}

/// Of ranks that read the same clock, as `name` says, one asks for all.
ClockOffset align(Communicator& all, const ClockSource& clock, const std::string& name) {
  const std::vector<int> readers = readers_of(all.all_gather_bytes(name));
  const int own = readers[static_cast<size_t>(all.rank())];
  ClockOffset mine{.at_ns = clock()};
  if (all.rank() == 0) {
    for (int rank = 1; rank < all.size(); ++rank)
      if (readers[static_cast<size_t>(rank)] == rank) answer(all, rank, clock);
  } else if (own == all.rank()) {
    mine = ask(all, clock);
  }
  const auto told =
      all.all_gather_bytes(std::string_view(reinterpret_cast<const char*>(&mine), sizeof mine));
  ClockOffset offset;
  std::memcpy(&offset, told[static_cast<size_t>(own)].data(), sizeof offset);
  return offset;
}

}  // namespace

ClockOffset align_clocks(Communicator& all) {
  return align(all, telemetry::now_ns, clock_of_this_host());
}

ClockOffset align_clocks(Communicator& all, const ClockSource& clock) {
  return align(all, clock, {});
}

bool drifts(const ClockOffset& begin, const ClockOffset& end) {
  return end.at_ns > begin.at_ns &&
         std::abs(end.offset_ns - begin.offset_ns) > begin.uncertainty_ns + end.uncertainty_ns;
}

int64_t to_rank0(const ClockOffset& begin, const ClockOffset& end, int64_t own_ns) {
  const int64_t change = end.offset_ns - begin.offset_ns;
  const int64_t time = end.at_ns - begin.at_ns;
  if (!drifts(begin, end))
    return own_ns + (end.uncertainty_ns < begin.uncertainty_ns ? end.offset_ns : begin.offset_ns);
  const int64_t since = std::clamp<int64_t>(own_ns - begin.at_ns, 0, time);
  const double part = static_cast<double>(since) / static_cast<double>(time);
  return own_ns + begin.offset_ns + static_cast<int64_t>(static_cast<double>(change) * part);
}

}  // namespace trireme::comm
