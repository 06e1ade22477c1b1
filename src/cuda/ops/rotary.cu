#include "cuda/ops/rotary.h"

#include "cuda/simt.h"

#include <algorithm>

namespace trireme::cuda {

namespace {

constexpr int threads = 256;
constexpr int64_t blocks_per_sm = 8;

// Each thread turns `size` neighbours of a first half with their partners in the second. `parts`: groups of neighbours in a half.
// Index: 32 bits where they suffice, since the hardware divides those far faster.
template <class T, int size, class Index>
__global__ void turn(Rotary rotary, Index parts, Index count) {
  struct alignas(size * sizeof(T)) Neighbours {
    T values[size];
  };
  struct alignas(size * sizeof(float) < 16 ? size * sizeof(float) : 16) Factors {
    float values[size];
  };
  const auto* x = static_cast<const T*>(rotary.x);
  auto* y = static_cast<T*>(rotary.y);
  const auto heads = static_cast<Index>(rotary.heads), tokens = static_cast<Index>(rotary.tokens);
  const float direction = rotary.back ? -1.0F : 1.0F;
  for (Index i = static_cast<Index>(blockIdx.x) * threads + threadIdx.x; i < count; i += static_cast<Index>(gridDim.x) * threads) {
    const Index head = i / parts, column = (i - head * parts) * size, token = head / heads % tokens;
    const int64_t low = static_cast<int64_t>(head) * 2 * rotary.half + column, high = low + rotary.half;
    const int64_t angle = static_cast<int64_t>(token) * rotary.half + column;
    const auto cosine = *reinterpret_cast<const Factors*>(rotary.cosine + angle);
    const auto sine = *reinterpret_cast<const Factors*>(rotary.sine + angle);
    const auto a = *reinterpret_cast<const Neighbours*>(x + low), b = *reinterpret_cast<const Neighbours*>(x + high);
    Neighbours turned_a, turned_b;
#pragma unroll
    for (int j = 0; j < size; ++j) {
      const float u = static_cast<float>(a.values[j]), v = static_cast<float>(b.values[j]);
      const float c = cosine.values[j], s = sine.values[j] * direction;
      turned_a.values[j] = static_cast<T>(u * c - v * s);
      turned_b.values[j] = static_cast<T>(v * c + u * s);
    }
    *reinterpret_cast<Neighbours*>(y + low) = turned_a;
    *reinterpret_cast<Neighbours*>(y + high) = turned_b;
  }
}

template <class T, int size>
void turn_all(const Rotary& rotary, Stream stream) {
  const int64_t parts = rotary.half / size, count = rotary.samples * rotary.tokens * rotary.heads * parts;
  const int64_t blocks = std::min((count + threads - 1) / threads, multiprocessors() * blocks_per_sm);
  const Grid grid{static_cast<unsigned>(blocks)};
  if (count < int64_t{1} << 31)  // a step beyond fits into 32 bits, too
    launch(turn<T, size, uint32_t>, grid, threads, stream, rotary, static_cast<uint32_t>(parts), static_cast<uint32_t>(count));
  else
    launch(turn<T, size, int64_t>, grid, threads, stream, rotary, parts, count);
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

void rotary(const Rotary& rotary, Stream stream) {
  const bool packs = aligned(rotary.x) && aligned(rotary.y) && aligned(rotary.cosine) && aligned(rotary.sine);
  with_element(rotary.type, [&]<class T>(T*) {
    if (packs && rotary.half % Pack<T>::size == 0)
      turn_all<T, Pack<T>::size>(rotary, stream);
    else
      turn_all<T, 1>(rotary, stream);
  });
}

}  // namespace trireme::cuda
