#include "comm/reduction.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include <c10/util/Half.h>

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace trireme::comm {
namespace {

// Elements per block; a block of accumulators stays in the first-level cache.
constexpr std::size_t block = 2048;

// A format says how stored elements become accumulators and back. `open` may return the stored
// elements themselves.
template <class T>
struct Native {
  using Stored = T;
  using Accumulator = T;
  static const T* open(const T* from, T*, std::size_t) { return from; }
  static void close(const T* from, T* to, std::size_t n) { std::memcpy(to, from, n * sizeof(T)); }
};

struct BrainFloat {
  using Stored = uint16_t;
  using Accumulator = float;
  static const float* open(const uint16_t* from, float* buffer, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      buffer[i] = std::bit_cast<float>(static_cast<uint32_t>(from[i]) << 16);
    return buffer;
  }
  static void close(const float* from, uint16_t* to, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto bits = std::bit_cast<uint32_t>(from[i]);
      const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
      const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
      to[i] = static_cast<uint16_t>(nan ? 0x7fc0u : rounded);
    }
  }
};

struct HalfFloat {
  using Stored = uint16_t;
  using Accumulator = float;
  static const float* open(const uint16_t* from, float* buffer, std::size_t n) {
    std::size_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
      _mm256_storeu_ps(
          buffer + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
#endif
    for (; i < n; ++i) buffer[i] = static_cast<float>(c10::Half(from[i], c10::Half::from_bits()));
    return buffer;
  }
  static void close(const float* from, uint16_t* to, std::size_t n) {
    std::size_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                       _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    // One NaN for both loops: an element's bits must not depend on its place.
    for (; i < n; ++i) to[i] = c10::Half(from[i]).x;
    for (i = 0; i < n; ++i) to[i] = (to[i] & 0x7fffu) > 0x7c00u ? uint16_t{0x7e00u} : to[i];
  }
};

struct Sum {
  static int64_t apply(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
  template <class T>
  static T apply(T a, T b) {
    return a + b;
  }
};
struct Max {
  template <class T>
  static T apply(T a, T b) {
    return a > b || a != a ? a : b;
  }
};
struct Min {
  template <class T>
  static T apply(T a, T b) {
    return a < b || a != a ? a : b;
  }
};

template <class Format, class Op>
void reduce(std::byte* out, std::span<const std::byte* const> inputs, std::size_t count) {
  using Stored = typename Format::Stored;
  using Accumulator = typename Format::Accumulator;
  alignas(64) Accumulator sum[block];
  alignas(64) Accumulator buffer[block];
  for (std::size_t start = 0; start < count; start += block) {
    const std::size_t n = std::min(block, count - start);
    const auto stored = [&](std::size_t r) {
      return reinterpret_cast<const Stored*>(inputs[r]) + start;
    };
    const Accumulator* first = Format::open(stored(0), sum, n);
    if (inputs.size() == 1 && first != sum) std::copy_n(first, n, sum);
    for (std::size_t r = 1; r < inputs.size(); ++r) {
      const Accumulator* next = Format::open(stored(r), buffer, n);
      for (std::size_t i = 0; i < n; ++i) sum[i] = Op::apply(first[i], next[i]);
      first = sum;
    }
    Format::close(sum, reinterpret_cast<Stored*>(out) + start, n);
  }
}

using Function = void (*)(std::byte*, std::span<const std::byte* const>, std::size_t);

template <class Format>
Function choose(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return reduce<Format, Sum>;
    case ReduceOp::max:
      return reduce<Format, Max>;
    case ReduceOp::min:
      return reduce<Format, Min>;
  }
  throw Error(ErrorKind::unexpected, "reduction with an unknown operation");
}

Function choose(at::ScalarType dtype, ReduceOp op) {
  switch (dtype) {
    case at::kFloat:
      return choose<Native<float>>(op);
    case at::kDouble:
      return choose<Native<double>>(op);
    case at::kLong:
      return choose<Native<int64_t>>(op);
    case at::kBFloat16:
      return choose<BrainFloat>(op);
    case at::kHalf:
      return choose<HalfFloat>(op);
    default:
      break;
  }
  throw Error(ErrorKind::unexpected,
              std::string("ranks cannot reduce tensors of type ") + c10::toString(dtype));
}

}  // namespace

Reduction::Reduction(at::ScalarType dtype, ReduceOp op)
    : reduce_(choose(dtype, op)), element_bytes_(c10::elementSize(dtype)) {}

}  // namespace trireme::comm
