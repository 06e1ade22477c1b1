#include <trireme/core/random.h>
#include <trireme/debug/sample_ids.h>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

void add(SampleIds& to, int64_t id) {
  const uint64_t hash = core::RandomKey(static_cast<uint64_t>(id)).value();
  ++to.count;
  to.sum += hash;
  to.exclusive_or ^= hash;
}

}  // namespace

SampleIds SampleIds::of(const std::vector<int64_t>& ids) {
  SampleIds all;
  for (const int64_t id : ids) add(all, id);
  return all;
}

SampleIds SampleIds::of_all(int64_t n) {
  SampleIds all;
  for (int64_t id = 0; id < n; ++id) add(all, id);
  return all;
}

SampleIds& SampleIds::operator+=(const SampleIds& other) {
  count += other.count;
  sum += other.sum;
  exclusive_or ^= other.exclusive_or;
  return *this;
}

std::optional<std::string> problem_of(const SampleIds& all_ranks, int64_t dataset) {
  if (all_ranks == SampleIds::of_all(dataset)) return std::nullopt;
  if (all_ranks.count == static_cast<uint64_t>(dataset))
    return fmt::format("{} samples were seen, as many as there are, but not each of them once",
                       dataset);
  return fmt::format(
      "{} samples were seen of {}{}", all_ranks.count, dataset,
      all_ranks.count > static_cast<uint64_t>(dataset) ? ": some more than once" : "");
}

}  // namespace trireme::debug
