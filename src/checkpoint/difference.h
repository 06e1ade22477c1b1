#pragma once

#include <trireme/checkpoint/reader.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace trireme::checkpoint {

/// How far the values of two tensors of one shape are apart, gathered piece by piece. Values of one
/// type are equal if their bits are, as for state_hash; of two types, if they are the same number.
class ValueDifference {
 public:
  void add(at::ScalarType type, std::span<const std::byte> values, at::ScalarType other_type,
           std::span<const std::byte> other_values);

  [[nodiscard]] int64_t differing() const { return differing_; }
  /// Infinite if a value differs where one of the two is not finite.
  [[nodiscard]] double max_abs() const { return static_cast<double>(max_abs_); }
  /// The L2 norm of the difference over that of the first tensor.
  [[nodiscard]] double relative_l2() const;

 private:
  template <class Wide>
  void add_as(at::ScalarType type, std::span<const std::byte> values, at::ScalarType other_type,
              std::span<const std::byte> other_values);

  int64_t differing_ = 0;
  long double max_abs_ = 0;  // holds 64-bit integers exactly
  long double squares_ = 0;
  long double squares_of_first_ = 0;
};

struct TensorKind {
  at::ScalarType dtype = at::ScalarType::Float;
  std::vector<int64_t> shape;
  bool operator==(const TensorKind&) const = default;
};

/// A tensor that is not the same in both.
struct TensorDifference {
  std::string name;
  std::optional<TensorKind> first, second;  ///< nothing: there is none of this name
  std::optional<ValueDifference> values;    ///< if both have the same shape
};

struct ScalarDifference {
  std::string name;
  std::optional<core::Scalar> first, second;
};

struct Difference {
  std::vector<ScalarDifference> scalars;
  std::vector<TensorDifference> tensors;
  int64_t scalars_compared = 0;  ///< names in either
  int64_t tensors_compared = 0;
  [[nodiscard]] size_t count() const { return scalars.size() + tensors.size(); }
};

/// Compares the logical states, whatever number of ranks wrote them; nothing differs exactly if the
/// state hashes are equal. Reads both, a piece at a time.
[[nodiscard]] Difference difference_between(const Reader& first, const Reader& second);

}  // namespace trireme::checkpoint
