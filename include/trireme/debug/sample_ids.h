#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace trireme::debug {

/// A set of sample ids in three numbers that can be added up over ranks: how many, and the sum and
/// the exclusive or of their hashes. Two multisets of 64-bit ids that differ have the same numbers
/// with a probability of about 2^-64.
struct SampleIds {
  uint64_t count = 0, sum = 0, exclusive_or = 0;

  static SampleIds of(const std::vector<int64_t>& ids);
  /// 0, 1, ... n - 1, each once.
  static SampleIds of_all(int64_t n);
  SampleIds& operator+=(const SampleIds& other);
  bool operator==(const SampleIds&) const = default;
};

/// What is wrong with the samples that all ranks together have seen of a data set of `dataset`;
/// nothing if each was seen once.
[[nodiscard]] std::optional<std::string> problem_of(const SampleIds& all_ranks, int64_t dataset);

}  // namespace trireme::debug
