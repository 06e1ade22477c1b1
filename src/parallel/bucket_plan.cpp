#include <trireme/parallel/bucket_plan.h>

#include <algorithm>
#include <cmath>

namespace trireme::parallel {

namespace {

constexpr int64_t mib = 1 << 20;
constexpr int64_t bytes_of_element = 4;
constexpr int64_t alignment = 64 / bytes_of_element;

int64_t padded(int64_t elements) {
  return (elements + alignment - 1) / alignment * alignment;
}

int64_t padded_bytes(int64_t elements) {
  return padded(elements) * bytes_of_element;
}

// Parameters from the start of `elements` (first used, so ready last) that form the last bucket: as
// many as fit, at least one.
size_t count_of_last(std::span<const int64_t> elements, int64_t last_bytes) {
  size_t count = 0;
  int64_t bytes = 0;
  while (count < elements.size()) {
    bytes += padded_bytes(elements[count]);
    if (count > 0 && bytes > last_bytes) break;
    ++count;
  }
  return count;
}

class Packing {
 public:
  explicit Packing(size_t parameters) { plan_.bucket_of.resize(parameters); }

  void open() { plan_.buckets.push_back({plan_.elements, 0, {}}); }
  void add(size_t parameter, int64_t elements) {
    Bucket& bucket = plan_.buckets.back();
    bucket.slots.push_back({parameter, plan_.elements, elements});
    bucket.elements += padded(elements);
    plan_.elements += padded(elements);
    plan_.bucket_of[parameter] = plan_.buckets.size() - 1;
  }
  [[nodiscard]] size_t buckets() const { return plan_.buckets.size(); }
  [[nodiscard]] bool fits(int64_t elements, int64_t limit) const {
    const Bucket& bucket = plan_.buckets.back();
    return bucket.slots.empty() ||
           bucket.elements * bytes_of_element + padded_bytes(elements) <= limit;
  }
  BucketPlan take() { return std::move(plan_); }

 private:
  BucketPlan plan_;
};

}  // namespace

Link usual_gpu_link(bool one_host) {
  return one_host ? Link{28e-6, 274e9} : Link{0.5e-3, 205e9};
}

BucketSizes bucket_sizes(const ParallelConfig& config, int64_t total_bytes,
                         const std::optional<Link>& link) {
  int64_t bytes = std::clamp(total_bytes / 16, mib, 25 * mib);
  if (link)
    bytes = std::clamp(std::llround(std::sqrt(link->latency_seconds * link->bytes_per_second *
                                              static_cast<double>(total_bytes))),
                       4LL * mib, 256LL * mib);
  if (const double* const number = std::get_if<double>(&config.bucket_mib))
    bytes = std::max<int64_t>(1, std::llround(*number * static_cast<double>(mib)));
  return {bytes, std::min(bytes, mib), std::min(bytes, mib)};
}

BucketPlan plan_buckets(std::span<const int64_t> elements, const BucketSizes& sizes) {
  const size_t in_last = count_of_last(elements, sizes.last_bytes);
  Packing packing(elements.size());
  for (size_t i = elements.size(); i-- > 0;) {
    const bool last = i < in_last;
    const int64_t limit = packing.buckets() == 1 ? sizes.first_bytes : sizes.bytes;
    const bool begin =
        packing.buckets() == 0 || i + 1 == in_last || (!last && !packing.fits(elements[i], limit));
    if (begin) packing.open();
    packing.add(i, elements[i]);
  }
  return packing.take();
}

}  // namespace trireme::parallel
