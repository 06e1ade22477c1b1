#pragma once

#include <cstdint>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

namespace trireme::cuda {

/// Element types of the kernels; c10::BFloat16 and c10::Half convert to and from float on both sides.
enum class Element : uint8_t { float32, bfloat16, float16 };

/// Calls f with a null pointer to the type.
template <class F>
void with_element(Element element, F&& f) {
  switch (element) {
    case Element::float32:
      return f(static_cast<float*>(nullptr));
    case Element::bfloat16:
      return f(static_cast<c10::BFloat16*>(nullptr));
    case Element::float16:
      return f(static_cast<c10::Half*>(nullptr));
  }
}

/// 16 bytes of T: one access.
template <class T>
struct alignas(16) Pack {
  static constexpr int64_t size = 16 / sizeof(T);
  T values[size];
};

}  // namespace trireme::cuda
