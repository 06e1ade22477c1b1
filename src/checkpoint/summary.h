#pragma once

#include <trireme/checkpoint/reader.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::checkpoint {

/// What the numbers of a tensor look like, gathered piece by piece. Values that are not finite are
/// counted and take part in nothing else.
class Norms {
 public:
  void add(at::ScalarType type, std::span<const std::byte> values);
  /// Of the union of both.
  void add(const Norms& other);

  [[nodiscard]] double l2() const;
  /// Nothing if no value is finite.
  [[nodiscard]] std::optional<double> least() const;
  [[nodiscard]] std::optional<double> most() const;
  [[nodiscard]] int64_t not_finite() const { return not_finite_; }

 private:
  long double squares_ = 0;  // of doubles may be beyond double's range
  double least_ = std::numeric_limits<double>::infinity();
  double most_ = -std::numeric_limits<double>::infinity();
  int64_t not_finite_ = 0;
};

struct TensorSummary {
  std::string name;  ///< without the group's prefix
  at::ScalarType dtype = at::ScalarType::Float;
  std::vector<int64_t> shape;
  int64_t elements = 0;
  int64_t bytes = 0;
  int64_t parts = 0;  ///< boxes that it is stored in
  std::optional<Norms> norms;
};

/// The tensors of one kind: "model/", "master/", "optim/<slot>/", "ema/", "buffer/", ...
struct GroupSummary {
  std::string prefix;
  std::vector<TensorSummary> tensors;
  int64_t elements = 0;
  int64_t bytes = 0;
  std::optional<Norms> norms;
};

/// The part of a tensor's name that says what kind it is, with the slash; empty if there is none.
[[nodiscard]] std::string_view group_of(std::string_view tensor);

/// All tensors by group: weights first, then the optimizer's, then the rest; each ordered by name.
[[nodiscard]] std::vector<GroupSummary> summarize(const Manifest& manifest);

/// Reads all of the checkpoint, a piece at a time, and fills in the norms.
void add_norms(std::vector<GroupSummary>& groups, const Reader& reader);

}  // namespace trireme::checkpoint
