#pragma once

#include <trireme/core/error.h>

#include <cstdint>
#include <type_traits>

#include <c10/core/ScalarType.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Float8_e4m3fn.h>
#include <c10/util/Float8_e5m2.h>
#include <c10/util/Half.h>

namespace trireme::checkpoint {

/// Calls f(T{}) with the C++ type of the numbers in a tensor of `type`, for all types that a
/// checkpoint can hold. Those of complex tensors are real and imaginary parts in turn.
template <class F>
void with_number_type(at::ScalarType type, const F& f) {
  switch (type) {
    case at::ScalarType::Double:
      return f(double{});
    case at::ScalarType::Float:
    case at::ScalarType::ComplexFloat:
      return f(float{});
    case at::ScalarType::Half:
      return f(c10::Half{});
    case at::ScalarType::BFloat16:
      return f(c10::BFloat16{});
    case at::ScalarType::Float8_e5m2:
      return f(c10::Float8_e5m2{});
    case at::ScalarType::Float8_e4m3fn:
      return f(c10::Float8_e4m3fn{});
    case at::ScalarType::Long:
      return f(int64_t{});
    case at::ScalarType::Int:
      return f(int32_t{});
    case at::ScalarType::Short:
      return f(int16_t{});
    case at::ScalarType::Char:
      return f(int8_t{});
    case at::ScalarType::UInt64:
      return f(uint64_t{});
    case at::ScalarType::UInt32:
      return f(uint32_t{});
    case at::ScalarType::UInt16:
      return f(uint16_t{});
    case at::ScalarType::Byte:
    case at::ScalarType::Bool:
      return f(uint8_t{});
    default:
      check(false, "a checkpoint holds types that safetensors has");
  }
}

/// Any of them as `Wide`: 8-bit and 16-bit floats know only float.
template <class Wide, class T>
Wide widened(T value) {
  if constexpr (std::is_class_v<T>)
    return static_cast<Wide>(static_cast<float>(value));
  else
    return static_cast<Wide>(value);
}

}  // namespace trireme::checkpoint
