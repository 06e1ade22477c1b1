#include "checkpoint/difference.h"

#include "checkpoint/element_type.h"
#include "checkpoint/pieces.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include <c10/core/ScalarType.h>

namespace trireme::checkpoint {
namespace {

constexpr int64_t piece_elements = 1 << 18;

/// Whether double holds its differences as well as long double does.
bool fits_double(at::ScalarType type) {
  return type != at::kDouble && type != at::kLong && type != at::kUInt64;
}

template <class Wide>
std::vector<Wide> widen(at::ScalarType type, std::span<const std::byte> bytes) {
  std::vector<Wide> wide(bytes.size() / c10::elementSize(type) *
                         (c10::isComplexType(type) ? 2 : 1));
  with_number_type(type, [&]<class T>(T) {
    const auto* numbers = reinterpret_cast<const T*>(bytes.data());
    for (size_t i = 0; i < wide.size(); ++i) wide[i] = widened<Wide>(numbers[i]);
  });
  return wide;
}

bool same_scalar(const core::Scalar& a, const core::Scalar& b) {
  if (a.index() != b.index()) return false;
  if (const auto* number = std::get_if<double>(&a))
    return std::bit_cast<uint64_t>(*number) == std::bit_cast<uint64_t>(std::get<double>(b));
  return a == b;
}

/// Calls f(name, first's value or null, second's value or null) for the names in either map.
template <class Map, class F>
void for_each_name(const Map& first, const Map& second, const F& f) {
  auto a = first.begin();
  auto b = second.begin();
  while (a != first.end() || b != second.end()) {
    const bool in_first = a != first.end() && (b == second.end() || a->first <= b->first);
    const bool in_second = b != second.end() && (a == first.end() || b->first <= a->first);
    f(in_first ? a->first : b->first, in_first ? &a->second : nullptr,
      in_second ? &b->second : nullptr);
    if (in_first) ++a;
    if (in_second) ++b;
  }
}

std::optional<TensorKind> kind_of(const StoredTensor* tensor) {
  if (tensor == nullptr) return {};
  return TensorKind{tensor->dtype, tensor->shape};
}

/// Reads the same pieces of a tensor from both.
class PairOfTensors {
 public:
  PairOfTensors(const Reader& first, const Reader& second, const std::string& name)
      : first_(first), second_(second), name_(name) {}

  [[nodiscard]] bool same_bytes() {
    bool same = true;
    for_each_piece(first_.shape(name_), piece_elements, [&](const core::Box& piece) {
      if (!same) return;
      read(piece);
      same = a_ == b_;
    });
    return same;
  }

  [[nodiscard]] ValueDifference values() {
    ValueDifference difference;
    for_each_piece(first_.shape(name_), piece_elements, [&](const core::Box& piece) {
      read(piece);
      difference.add(first_.dtype(name_), a_, second_.dtype(name_), b_);
    });
    return difference;
  }

 private:
  void read(const core::Box& piece) {
    const auto elements = static_cast<size_t>(piece.elements());
    a_.resize(elements * c10::elementSize(first_.dtype(name_)));
    b_.resize(elements * c10::elementSize(second_.dtype(name_)));
    first_.read_bytes(name_, piece, a_);
    second_.read_bytes(name_, piece, b_);
  }

  const Reader& first_;
  const Reader& second_;
  const std::string& name_;
  std::vector<std::byte> a_, b_;
};

}  // namespace

template <class Wide>
void ValueDifference::add_as(at::ScalarType type, std::span<const std::byte> values,
                             at::ScalarType other_type, std::span<const std::byte> other_values) {
  const std::vector<Wide> a = widen<Wide>(type, values), b = widen<Wide>(other_type, other_values);
  check(a.size() == b.size() && !a.empty(), "values are compared with as many others");
  const size_t item = values.size() / a.size();
  Wide squares_of_first = 0, squares = 0, max_abs = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(a[i])) squares_of_first += a[i] * a[i];
    const bool same = type == other_type ? std::memcmp(values.data() + i * item,
                                                       other_values.data() + i * item, item) == 0
                                         : a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    if (same) continue;
    ++differing_;
    const bool finite = std::isfinite(a[i]) && std::isfinite(b[i]);
    const Wide apart = finite ? std::fabs(a[i] - b[i]) : std::numeric_limits<Wide>::infinity();
    max_abs = std::max(max_abs, apart);
    squares += apart * apart;
  }
  squares_of_first_ += squares_of_first;
  squares_ += squares;
  max_abs_ = std::max<long double>(max_abs_, max_abs);
}

void ValueDifference::add(at::ScalarType type, std::span<const std::byte> values,
                          at::ScalarType other_type, std::span<const std::byte> other_values) {
  if (fits_double(type) && fits_double(other_type))
    add_as<double>(type, values, other_type, other_values);
  else
    add_as<long double>(type, values, other_type, other_values);
}

double ValueDifference::relative_l2() const {
  if (squares_ == 0) return 0;  // also where both are zero
  return static_cast<double>(std::sqrt(squares_) / std::sqrt(squares_of_first_));
}

Difference difference_between(const Reader& first, const Reader& second) {
  Difference difference;
  for_each_name(
      first.manifest().scalars, second.manifest().scalars,
      [&](const std::string& name, const core::Scalar* a, const core::Scalar* b) {
        ++difference.scalars_compared;
        if (a != nullptr && b != nullptr && same_scalar(*a, *b)) return;
        difference.scalars.push_back({name, a == nullptr ? std::nullopt : std::optional(*a),
                                      b == nullptr ? std::nullopt : std::optional(*b)});
      });
  for_each_name(first.manifest().tensors, second.manifest().tensors,
                [&](const std::string& name, const StoredTensor* a, const StoredTensor* b) {
                  ++difference.tensors_compared;
                  TensorDifference one{name, kind_of(a), kind_of(b), {}};
                  if (a != nullptr && b != nullptr && a->shape == b->shape) {
                    PairOfTensors pair(first, second, name);
                    if (a->dtype == b->dtype && pair.same_bytes()) return;
                    one.values = pair.values();
                  }
                  difference.tensors.push_back(std::move(one));
                });
  return difference;
}

}  // namespace trireme::checkpoint
