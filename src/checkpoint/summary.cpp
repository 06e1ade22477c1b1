#include "checkpoint/summary.h"

#include "checkpoint/element_type.h"
#include "checkpoint/pieces.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <c10/core/ScalarType.h>

namespace trireme::checkpoint {
namespace {

constexpr int64_t piece_elements = 1 << 20;

// What a reader looks for first.
constexpr std::array<std::string_view, 6> order_of_groups = {"model/",  "master/", "ema/",
                                                             "buffer/", "optim/",  ""};

size_t place_of(std::string_view prefix) {
  const auto found =
      std::find_if(order_of_groups.begin(), order_of_groups.end(),
                   [&](std::string_view start) { return prefix.starts_with(start); });
  return static_cast<size_t>(found - order_of_groups.begin());
}

template <class T>
std::span<const T> numbers_in(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

}  // namespace

void Norms::add(at::ScalarType type, std::span<const std::byte> values) {
  with_number_type(type, [&]<class T>(T) {
    using Sum = std::conditional_t<std::is_same_v<T, double>, long double, double>;
    Sum squares = 0;
    int64_t not_finite = 0;
    double least = least_, most = most_;
    for (const T number : numbers_in<T>(values)) {
      const auto value = widened<double>(number);
      if (!std::isfinite(value)) {
        ++not_finite;
        continue;
      }
      squares += static_cast<Sum>(value) * static_cast<Sum>(value);
      least = std::min(least, value);
      most = std::max(most, value);
    }
    squares_ += squares;
    not_finite_ += not_finite;
    least_ = least;
    most_ = most;
  });
}

void Norms::add(const Norms& other) {
  squares_ += other.squares_;
  least_ = std::min(least_, other.least_);
  most_ = std::max(most_, other.most_);
  not_finite_ += other.not_finite_;
}

double Norms::l2() const {
  return static_cast<double>(std::sqrt(squares_));
}

std::optional<double> Norms::least() const {
  return least_ <= most_ ? std::optional(least_) : std::nullopt;
}

std::optional<double> Norms::most() const {
  return least_ <= most_ ? std::optional(most_) : std::nullopt;
}

std::string_view group_of(std::string_view tensor) {
  constexpr std::string_view optimizer = "optim/";
  const size_t from = tensor.starts_with(optimizer) ? optimizer.size() : 0;
  const size_t slash = tensor.find('/', from);
  if (slash != std::string_view::npos) return tensor.substr(0, slash + 1);
  return tensor.substr(0, from);
}

std::vector<GroupSummary> summarize(const Manifest& manifest) {
  std::map<std::pair<size_t, std::string_view>, GroupSummary> groups;
  for (const auto& [name, stored] : manifest.tensors) {
    const std::string_view prefix = group_of(name);
    GroupSummary& group = groups[{place_of(prefix), prefix}];
    group.prefix = prefix;
    TensorSummary tensor;
    tensor.name = name.substr(prefix.size());
    tensor.dtype = stored.dtype;
    tensor.shape = stored.shape;
    tensor.elements = core::Box::whole(stored.shape).elements();
    tensor.bytes = tensor.elements * static_cast<int64_t>(c10::elementSize(stored.dtype));
    tensor.parts = static_cast<int64_t>(stored.boxes.size());
    group.elements += tensor.elements;
    group.bytes += tensor.bytes;
    group.tensors.push_back(std::move(tensor));
  }
  std::vector<GroupSummary> ordered;
  for (auto& [place, group] : groups) ordered.push_back(std::move(group));
  return ordered;
}

void add_norms(std::vector<GroupSummary>& groups, const Reader& reader) {
  std::vector<std::byte> values;
  for (GroupSummary& group : groups) {
    group.norms.emplace();
    for (TensorSummary& tensor : group.tensors) {
      const size_t item = c10::elementSize(tensor.dtype);
      tensor.norms.emplace();
      for_each_piece(tensor.shape, piece_elements, [&](const core::Box& piece) {
        values.resize(static_cast<size_t>(piece.elements()) * item);
        reader.read_bytes(group.prefix + tensor.name, piece, values);
        tensor.norms->add(tensor.dtype, values);
      });
      group.norms->add(*tensor.norms);
    }
  }
}

}  // namespace trireme::checkpoint
