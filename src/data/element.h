#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <c10/core/ScalarType.h>

namespace trireme::data {

/// What a data set's elements are on disk.
enum class Element : uint8_t { u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, other };

[[nodiscard]] int64_t bytes_of(Element element);
[[nodiscard]] std::string_view name_of(Element element);
[[nodiscard]] bool is_integer(Element element);

/// Copies `count` elements (of any alignment) and converts them to int64, float32 or, if `to` is
/// the same type, not at all. A check fails for other conversions.
void convert(Element from, const std::byte* in, int64_t count, at::ScalarType to, std::byte* out);

/// The tensor type of the same size and meaning; unsigned types beyond uint8 have none and give
/// int64, float64 gives float32.
[[nodiscard]] at::ScalarType tensor_type(Element element);

}  // namespace trireme::data
