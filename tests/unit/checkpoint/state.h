#pragma once

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/writer.h>

#include "support/spawn_ranks.h"

#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::test {

/// The tensors of a state, all of them whole.
inline std::map<std::string, at::Tensor> tensors_of(int64_t salt = 0) {
  const auto numbers = [salt](at::IntArrayRef shape, at::ScalarType type) {
    const int64_t n = at::zeros(shape, at::kByte).numel();
    return (at::arange(n, at::kLong) * 7 + salt).remainder(251).to(type).view(shape);
  };
  return {
      {"model/large", numbers({300, 1000}, at::kFloat)},  // is cut
      {"model/w", numbers({3, 5}, at::kFloat)},
      {"model/bias", numbers({7}, at::kBFloat16)},
      {"model/scale", numbers({}, at::kHalf)},
      {"model/none", numbers({2, 0}, at::kFloat)},
      {"buffer/flags", numbers({9}, at::kByte).to(at::kBool)},
      {"buffer/count", numbers({}, at::kLong)},
      // Sharded.
      {"optim/exp_avg/rows", numbers({10, 3}, at::kFloat)},
      {"optim/exp_avg/flat", numbers({5, 7}, at::kFloat)},
      {"optim/exp_avg/cube", numbers({4, 3, 5}, at::kDouble)},
      {"optim/exp_avg/columns", numbers({6, 11}, at::kInt)},
      {"optim/step", numbers({}, at::kFloat)},
      {"master/none", numbers({0}, at::kFloat)},
  };
}

inline std::map<std::string, core::Scalar> scalars_of() {
  return {{"trainer/step", int64_t{1200}},
          {"trainer/lr", 0.1 + 0.2},
          {"trainer/one", 1.0},
          {"trainer/best", std::numeric_limits<double>::infinity()},
          {"trainer/minus_zero", -0.0},
          {"trainer/smallest", std::numeric_limits<int64_t>::min()},
          {"trainer/done", false},
          {"trainer/name", std::string("caf\xc3\xa9 \"x\"\n")},
          {"trainer/raw", std::string("\x00\xff\x80", 3)}};
}

inline at::Tensor part(at::Tensor whole, const core::Box& box) {
  for (size_t d = 0; d < box.size.size(); ++d)
    whole = whole.narrow(static_cast<int64_t>(d), box.offset[d], box.size[d]);
  return whole;
}

/// Whole rows and the broken ones before and after them: what a flat range consists of.
inline std::vector<core::Box> boxes_of_range(int64_t begin, int64_t end, int64_t columns) {
  std::vector<core::Box> boxes;
  while (begin < end) {
    const int64_t row = begin / columns, column = begin % columns;
    if (column == 0 && end - begin >= columns) {
      const int64_t rows = (end - begin) / columns;
      boxes.push_back({{row, 0}, {rows, columns}});
      begin += rows * columns;
    } else {
      const int64_t count = std::min(columns - column, end - begin);
      boxes.push_back({{row, column}, {1, count}});
      begin += count;
    }
  }
  return boxes;
}

/// The boxes of one rank of `ranks`, one kind of sharding for each tensor; none: it is replicated.
inline std::vector<core::Box> shards_of(const std::string& name, int64_t rank, int64_t ranks,
                                        bool& sharded) {
  const auto cut = [&](int64_t n, int64_t r) {
    return n * r / ranks;
  };
  const auto range = [&](int64_t n) {
    return std::pair(cut(n, rank), cut(n, rank + 1));
  };
  sharded = true;
  if (name == "optim/exp_avg/rows") {
    const auto [begin, end] = range(10);
    return {{{begin, 0}, {end - begin, 3}}};  // may be empty
  }
  if (name == "optim/exp_avg/flat") {
    const auto [begin, end] = range(35);
    return boxes_of_range(begin, end, 7);
  }
  if (name == "optim/exp_avg/cube") {
    const auto [begin, end] = range(5);
    return {{{0, 0, begin}, {2, 3, end - begin}}, {{2, 0, begin}, {2, 3, end - begin}}};
  }
  if (name == "optim/exp_avg/columns") {
    const auto [begin, end] = range(11);
    return {{{0, begin}, {6, end - begin}}};
  }
  if (name == "optim/step")  // of the last rank alone
    return rank == ranks - 1 ? std::vector<core::Box>{{{}, {}}} : std::vector<core::Box>{};
  if (name == "master/none")
    return rank == 0 ? std::vector<core::Box>{{{0}, {0}}} : std::vector<core::Box>{};
  sharded = false;
  return {};
}

inline void fill(checkpoint::Writer& writer, int64_t rank, int64_t ranks, int64_t salt = 0) {
  for (const auto& [name, value] : scalars_of()) writer.scalar(name, value);
  for (const auto& [name, values] : tensors_of(salt)) {
    bool sharded = false;
    const auto boxes = shards_of(name, rank, ranks, sharded);
    if (!sharded) writer.replicated(name, values);
    for (const core::Box& box : boxes) writer.shard(name, values.sizes(), box, part(values, box));
  }
}

/// Writes the state by `ranks` thread ranks.
inline checkpoint::Committed write_state(const std::filesystem::path& folder, int64_t step,
                                         int ranks, int64_t salt = 0,
                                         const std::string& run_id = "run1") {
  checkpoint::Committed committed;
  spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
    checkpoint::Writer writer;
    fill(writer, all->rank(), ranks, salt);
    const auto mine = writer.commit(
        *all,
        {folder, step, run_id, {{"config", {{"model.name", "gpt2"}}}, {"rank", all->rank()}}});
    if (all->rank() == 0) committed = mine;
  });
  return committed;
}

inline bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0);
}

/// Every tensor read whole, in the boxes that `ranks` ranks would want, and every scalar.
inline void expect_state(const checkpoint::Reader& reader, int64_t ranks, int64_t salt = 0) {
  for (const auto& [name, values] : tensors_of(salt)) {
    ASSERT_TRUE(reader.has(name)) << name;
    ASSERT_EQ(reader.shape(name), values.sizes().vec()) << name;
    const at::Tensor whole = at::zeros_like(values);
    reader.read_whole(name, whole);
    ASSERT_TRUE(same_bytes(whole, values)) << name;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      bool sharded = false;
      for (const core::Box& box : shards_of(name, rank, ranks, sharded)) {
        const at::Tensor into = at::zeros(box.size, values.options());
        reader.read(name, box, into);
        ASSERT_TRUE(same_bytes(into, part(values, box).contiguous())) << name;
      }
    }
  }
  EXPECT_EQ(reader.manifest().tensors.size(), tensors_of().size());
  for (const auto& [name, value] : scalars_of()) EXPECT_EQ(reader.scalar(name), value) << name;
  EXPECT_TRUE(std::signbit(reader.real("trainer/minus_zero")));
}

}  // namespace trireme::test
