#pragma once

#include <trireme/comm/communicator.h>

#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

// What every communicator must do. Each case is called on all ranks, with a communicator of its
// own; it is run for the local and the thread communicators by tests/contract/comm and for MPI by
// tests/mpi.
namespace trireme::test {

struct CommunicatorCase {
  const char* name;
  void (*run)(comm::Communicator&);
  bool on_host_only = false;  ///< what communicators of devices do not promise
};

namespace communicator_cases {

/// Where the running case has its tensors.
inline thread_local at::Device device = at::kCPU;

using comm::Communicator;
using comm::CommunicatorPtr;
using comm::ReduceOp;
using comm::WorkPtr;

inline at::TensorOptions on_device(at::ScalarType dtype = at::kFloat) {
  return at::TensorOptions(device).dtype(dtype);
}

inline void wait_for_all(const std::vector<WorkPtr>& works) {
  for (const WorkPtr& work : works) work->wait();
}

inline const std::vector<at::ScalarType> reduced_types{at::kFloat, at::kDouble, at::kBFloat16,
                                                       at::kHalf, at::kLong};
inline const std::vector<at::ScalarType> moved_types{at::kFloat, at::kDouble, at::kBFloat16,
                                                     at::kHalf,  at::kLong,   at::kByte};
// Nothing, less than a rank each, odd, and several pieces with a remainder.
inline const std::vector<int64_t> sizes{0, 1, 7, 1001, 20'003, 300'001};

/// The values of one rank, which every rank can compute.
inline at::Tensor values_of(int rank, at::ScalarType dtype, int64_t size, int salt = 0) {
  const at::Tensor i = at::arange(size, at::kLong) + 7919 * rank + 104729 * salt;
  const at::Tensor mixed = (i * 2654435761 + i.bitwise_right_shift(3)).remainder(65521);
  if (dtype == at::kLong || dtype == at::kByte) return mixed.to(dtype);
  return ((mixed.to(at::kDouble) - 32760) / 8191).to(dtype);
}

inline bool same_bits(const at::Tensor& got, const at::Tensor& expected) {
  const at::Tensor a = got.cpu(), b = expected.cpu();
  return a.scalar_type() == b.scalar_type() && a.numel() == b.numel() &&
         (a.numel() == 0 || std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0);
}

/// Rank order, in float32 for the half types, rounded once.
inline at::Tensor reduce_reference(const std::vector<at::Tensor>& inputs, ReduceOp op) {
  const auto dtype = inputs[0].scalar_type();
  const auto wide = dtype == at::kBFloat16 || dtype == at::kHalf ? at::kFloat : dtype;
  at::Tensor result = inputs[0].to(wide);
  for (std::size_t r = 1; r < inputs.size(); ++r) {
    const at::Tensor next = inputs[r].to(wide);
    result = op == ReduceOp::sum   ? result + next
             : op == ReduceOp::max ? at::maximum(result, next)
                                   : at::minimum(result, next);
  }
  return result.to(dtype);
}

inline std::vector<at::Tensor> inputs_of_all(int ranks, at::ScalarType dtype, int64_t size) {
  std::vector<at::Tensor> inputs;
  for (int r = 0; r < ranks; ++r) inputs.push_back(values_of(r, dtype, size));
  return inputs;
}

inline void all_reduce(Communicator& ranks) {
  for (const auto dtype : reduced_types)
    for (const int64_t size : sizes) {
      const auto inputs = inputs_of_all(ranks.size(), dtype, size);
      for (const auto op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min}) {
        const at::Tensor values = inputs[static_cast<std::size_t>(ranks.rank())].to(
            device, /*non_blocking=*/false, /*copy=*/true);
        ranks.all_reduce(values, op)->wait();
        EXPECT_TRUE(same_bits(values, reduce_reference(inputs, op)))
            << dtype << " op " << static_cast<int>(op) << " size " << size;
      }
    }
}

inline void reduce_scatter(Communicator& ranks) {
  for (const auto dtype : reduced_types)
    for (const int64_t size : sizes) {
      const auto inputs = inputs_of_all(ranks.size(), dtype, size * ranks.size());
      for (const auto op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min}) {
        const at::Tensor in = inputs[static_cast<std::size_t>(ranks.rank())].to(
            device, /*non_blocking=*/false, /*copy=*/true);
        const at::Tensor out = at::empty({size}, on_device(dtype));
        ranks.reduce_scatter(out, in, op)->wait();
        const at::Tensor expected =
            reduce_reference(inputs, op).narrow(0, ranks.rank() * size, size).contiguous();
        EXPECT_TRUE(same_bits(out, expected))
            << dtype << " op " << static_cast<int>(op) << " size " << size;
      }
    }
}

inline void reduce_scatter_into_its_own_part(Communicator& ranks) {
  const auto inputs = inputs_of_all(ranks.size(), at::kFloat, 5003 * ranks.size());
  const at::Tensor in = inputs[static_cast<std::size_t>(ranks.rank())].to(
      device, /*non_blocking=*/false, /*copy=*/true);
  const at::Tensor out = in.narrow(0, ranks.rank() * 5003, 5003);
  ranks.reduce_scatter(out, in)->wait();
  EXPECT_TRUE(
      same_bits(out, reduce_reference(inputs, ReduceOp::sum).narrow(0, ranks.rank() * 5003, 5003)));
}

inline void all_gather(Communicator& ranks) {
  for (const auto dtype : moved_types)
    for (const int64_t size : sizes) {
      const at::Tensor expected = at::cat(inputs_of_all(ranks.size(), dtype, size));
      const at::Tensor out = at::zeros({size * ranks.size()}, on_device(dtype));
      ranks.all_gather(out, values_of(ranks.rank(), dtype, size).to(device))->wait();
      EXPECT_TRUE(same_bits(out, expected)) << dtype << " size " << size;

      const at::Tensor in_place = at::zeros({size * ranks.size()}, on_device(dtype));
      const at::Tensor own = in_place.narrow(0, ranks.rank() * size, size);
      own.copy_(values_of(ranks.rank(), dtype, size));
      ranks.all_gather(in_place, own)->wait();
      EXPECT_TRUE(same_bits(in_place, expected)) << dtype << " in place, size " << size;
    }
}

inline void broadcast(Communicator& ranks) {
  for (const auto dtype : moved_types)
    for (const int64_t size : sizes) {
      const auto inputs = inputs_of_all(ranks.size(), dtype, size);
      for (int root = 0; root < ranks.size(); ++root) {
        const at::Tensor values = inputs[static_cast<std::size_t>(ranks.rank())].to(
            device, /*non_blocking=*/false, /*copy=*/true);
        ranks.broadcast(values, root)->wait();
        EXPECT_TRUE(same_bits(values, inputs[static_cast<std::size_t>(root)]))
            << dtype << " root " << root << " size " << size;
      }
    }
}

inline void all_to_all(Communicator& ranks) {
  for (const auto dtype : moved_types)
    for (const int64_t size : sizes) {
      const at::Tensor in = values_of(ranks.rank(), dtype, size * ranks.size()).to(device);
      const at::Tensor out = at::zeros_like(in);
      ranks.all_to_all(out, in)->wait();
      std::vector<at::Tensor> parts;
      for (int r = 0; r < ranks.size(); ++r)
        parts.push_back(
            values_of(r, dtype, size * ranks.size()).narrow(0, ranks.rank() * size, size));
      EXPECT_TRUE(same_bits(out, at::cat(parts))) << dtype << " size " << size;
    }
}

inline void both_send_first(Communicator& ranks) {
  // 12 MB cannot hide in buffers: a blocking send would wait for a receive that comes after it.
  for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{3'000'001}}) {
    const int next = (ranks.rank() + 1) % ranks.size();
    const int previous = (ranks.rank() + ranks.size() - 1) % ranks.size();
    const at::Tensor in = at::zeros({size}, on_device());
    const WorkPtr sent = ranks.send(values_of(ranks.rank(), at::kFloat, size).to(device), next);
    const WorkPtr received = ranks.recv(in, previous);
    sent->wait();
    received->wait();
    EXPECT_TRUE(same_bits(in, values_of(previous, at::kFloat, size))) << "size " << size;
  }
}

inline void messages_keep_their_order_beside_collectives(Communicator& ranks) {
  constexpr int count = 20;
  const int next = (ranks.rank() + 1) % ranks.size();
  const int previous = (ranks.rank() + ranks.size() - 1) % ranks.size();
  std::vector<at::Tensor> received;
  std::vector<WorkPtr> works;
  for (int i = 0; i < count; ++i) {
    received.push_back(at::zeros({100}, on_device()));
    works.push_back(ranks.recv(received.back(), previous));
    works.push_back(ranks.send(values_of(ranks.rank(), at::kFloat, 100, i).to(device), next));
    works.push_back(ranks.all_reduce(at::ones({50'000}, on_device())));
  }
  wait_for_all(works);
  for (int i = 0; i < count; ++i)
    EXPECT_TRUE(
        same_bits(received[static_cast<std::size_t>(i)], values_of(previous, at::kFloat, 100, i)))
        << "message " << i;
}

inline void many_outstanding(Communicator& ranks) {
  std::vector<at::Tensor> sums, gathered;
  std::vector<WorkPtr> works;
  for (int i = 0; i < 100; ++i) {
    sums.push_back(at::full({i * 37}, 1.0 * (ranks.rank() + i), on_device()));
    works.push_back(ranks.all_reduce(sums.back()));
    gathered.push_back(at::zeros({ranks.size()}, on_device(at::kLong)));
    works.push_back(
        ranks.all_gather(gathered.back(), at::full({1}, ranks.rank() * i, on_device(at::kLong))));
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) (*work)->wait();
  const int n = ranks.size();
  for (int i = 0; i < 100; ++i) {
    const auto at_i = static_cast<std::size_t>(i);
    EXPECT_TRUE(same_bits(sums[at_i], at::full({i * 37}, float(n * i + n * (n - 1) / 2))));
    EXPECT_TRUE(same_bits(gathered[at_i], at::arange(n, at::kLong) * i));
  }
}

inline void operations_on_one_tensor_follow_each_other(Communicator& ranks) {
  // No wait in between: the order of issue alone makes the result.
  const at::Tensor values = at::full({1000}, 1.0, on_device());
  std::vector<WorkPtr> works;
  for (int i = 0; i < 5; ++i) works.push_back(ranks.all_reduce(values));
  wait_for_all(works);
  EXPECT_TRUE(same_bits(values, at::full({1000}, std::pow(ranks.size(), 5))));
}

inline void a_work_tells_its_time(Communicator& ranks) {
  const WorkPtr work = ranks.all_reduce(at::ones({100'000}, on_device()));
  work->wait_on_host();
  EXPECT_TRUE(work->done());
  EXPECT_GT(work->busy_ns(), 0);
}

inline void non_finite_values_stay(Communicator& ranks) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf})
    for (int source = 0; source < ranks.size(); ++source)
      for (const auto op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min}) {
        if (op != ReduceOp::sum && !device.is_cpu()) continue;
        // 21 elements: vector loops and their remainders.
        const at::Tensor values = at::ones({21}, on_device(dtype));
        if (ranks.rank() == source) {
          values[3] = nan;
          values[20] = nan;
          values[4] = op == ReduceOp::min ? -infinity : infinity;
        }
        ranks.all_reduce(values, op)->wait();
        const at::Tensor result = values.cpu(), bad = at::isnan(result);
        EXPECT_EQ(bad.sum().item<int64_t>(), 2) << dtype << " source " << source;
        EXPECT_TRUE(bad[3].item<bool>() && bad[20].item<bool>());
        EXPECT_TRUE(at::isinf(result[4]).item<bool>());
        EXPECT_EQ(at::isfinite(result).sum().item<int64_t>(), 18);
      }
  const at::Tensor large = at::full({9}, 60'000, on_device(at::kHalf));
  ranks.all_reduce(large)->wait();
  EXPECT_EQ(at::isinf(large.cpu()).all().item<bool>(), ranks.size() > 1);
}

inline std::string text_of(int rank) {
  // Lengths 3, 0, more than a piece, 5, ...
  if (rank % 4 == 1) return {};
  if (rank % 4 == 2) return std::string(1'500'000, static_cast<char>('a' + rank));
  return std::string("\0x", 2) + std::to_string(rank);
}

inline void byte_strings(Communicator& ranks) {
  std::vector<std::string> expected;
  for (int r = 0; r < ranks.size(); ++r) expected.push_back(text_of(r));
  const std::string mine = text_of(ranks.rank());
  EXPECT_TRUE(ranks.all_gather_bytes(mine) == expected);
  for (int root = 0; root < ranks.size(); ++root) {
    const auto gathered = ranks.gather_bytes(mine, root);
    EXPECT_TRUE(ranks.rank() == root ? gathered == expected : gathered.empty()) << "root " << root;
    EXPECT_TRUE(ranks.broadcast_bytes(mine, root) == text_of(root)) << "root " << root;
  }
}

inline void split_orders_by_key(Communicator& ranks) {
  const int n = ranks.size();
  const CommunicatorPtr reversed = ranks.split(0, -ranks.rank(), "reversed");
  EXPECT_EQ(reversed->size(), n);
  EXPECT_EQ(reversed->rank(), n - 1 - ranks.rank());
  EXPECT_EQ(reversed->name(), ranks.name() + "/reversed");
  const at::Tensor out = at::empty({n}, on_device(at::kLong));
  reversed->all_gather(out, at::full({1}, ranks.rank(), on_device(at::kLong)))->wait();
  EXPECT_TRUE(same_bits(out, at::arange(n - 1, -1, -1, at::kLong)));
}

inline void split_unevenly(Communicator& ranks) {
  // The last rank takes no part; of the others rank 0 is alone and the rest together.
  const int n = ranks.size();
  const bool out = n > 1 && ranks.rank() == n - 1;
  const CommunicatorPtr group = ranks.split(out ? -1 : ranks.rank() == 0 ? 7 : 3, 0, "part");
  EXPECT_EQ(group == nullptr, out);
  if (group != nullptr) {
    const bool alone = ranks.rank() == 0;
    EXPECT_EQ(group->size(), alone ? 1 : n - 2);
    EXPECT_EQ(group->rank(), alone ? 0 : ranks.rank() - 1);
    const at::Tensor sum = at::full({70'000}, ranks.rank() + 1.0, on_device());
    group->all_reduce(sum)->wait();
    double expected = 1;
    if (!alone) expected = n * (n - 1) / 2 - 1;
    EXPECT_TRUE(same_bits(sum, at::full({70'000}, expected)));
  }
  ranks.barrier()->wait();
}

inline void splits_nest(Communicator& ranks) {
  const CommunicatorPtr parity = ranks.split(ranks.rank() % 2, 0, "parity");
  const CommunicatorPtr single = parity->split(parity->rank(), 0, "single");
  const CommunicatorPtr again = parity->split(0, 0, "again");
  EXPECT_EQ(single->size(), 1);
  EXPECT_EQ(again->size(), parity->size());
  EXPECT_EQ(again->name(), ranks.name() + "/parity/again");
  const at::Tensor sum = at::ones({3}, on_device());
  single->all_reduce(sum)->wait();
  again->all_reduce(sum)->wait();
  EXPECT_TRUE(same_bits(sum, at::full({3}, double(parity->size()))));
}

inline void communicators_interleave(Communicator& ranks) {
  const CommunicatorPtr parity = ranks.split(ranks.rank() % 2, 0, "parity");
  const CommunicatorPtr half = ranks.split(ranks.rank() < ranks.size() / 2, 0, "half");
  const CommunicatorPtr twin = ranks.split(0, 0, "twin");
  const at::Tensor values = at::ones({60'000}, on_device(at::kDouble));
  std::vector<WorkPtr> works;
  for (int i = 0; i < 10; ++i)
    for (Communicator* one : {&ranks, parity.get(), twin.get(), half.get()}) {
      works.push_back(one->all_reduce(values, ReduceOp::max));
      works.push_back(one->broadcast(values, one->size() - 1));
    }
  // The same shapes on the same ranks, apart only by the communicator.
  const at::Tensor a = at::full({8}, 1.0, on_device()), b = at::full({8}, 10.0, on_device());
  works.push_back(ranks.all_reduce(a));
  works.push_back(twin->all_reduce(b));
  wait_for_all(works);
  EXPECT_TRUE(same_bits(values, at::ones({60'000}, at::kDouble)));
  EXPECT_TRUE(same_bits(a, at::full({8}, 1.0 * ranks.size())));
  EXPECT_TRUE(same_bits(b, at::full({8}, 10.0 * ranks.size())));
}

template <class Call>
ErrorKind kind_thrown(Call call, std::string* message = nullptr) {
  try {
    call();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.message();
    return error.kind();
  }
  return ErrorKind::usage;  // nothing was thrown: no communicator throws this
}

inline void a_rank_that_never_enters_is_a_hang(Communicator& ranks) {
  const CommunicatorPtr doomed = ranks.split(0, 0, "doomed");
  const CommunicatorPtr child = doomed->split(0, 0, "child");
  doomed->set_deadline(std::chrono::milliseconds(300));
  const bool absent = ranks.size() > 1 && ranks.rank() == ranks.size() - 1;
  if (!absent) {
    const at::Tensor values = at::zeros({300'000}, on_device());
    const auto hang = [&] {
      if (ranks.size() > 1)
        doomed->all_reduce(values)->wait();
      else
        doomed->recv(values, 0)->wait();
    };
    std::string first, second, childs;
    EXPECT_EQ(kind_thrown(hang, &first), ErrorKind::hang);
    EXPECT_THAT(first, testing::HasSubstr(ranks.size() > 1 ? "all_reduce" : "recv"));
    EXPECT_THAT(first, testing::HasSubstr("1200000 bytes, operation 2 of communicator"));
    EXPECT_THAT(first, testing::HasSubstr(doomed->name()));
    EXPECT_THAT(first,
                testing::ContainsRegex("waits for ranks? .*" + std::to_string(ranks.size() - 1)));
    // Every later call gives the same Error, here and in what was split from it.
    EXPECT_EQ(kind_thrown([&] { doomed->barrier()->wait(); }, &second), ErrorKind::hang);
    EXPECT_EQ(kind_thrown([&] { child->barrier()->wait(); }, &childs), ErrorKind::hang);
    EXPECT_EQ(first, second);
    EXPECT_EQ(first, childs);
    EXPECT_NE(doomed->poisoned(), nullptr);
  }
  // The communicator that it was split from still works.
  ranks.barrier()->wait();
  EXPECT_EQ(ranks.poisoned(), nullptr);
}

inline void poison_wakes_a_waiter(Communicator& ranks) {
  const CommunicatorPtr doomed = ranks.split(0, 0, "doomed");
  const CommunicatorPtr child = doomed->split(0, 0, "child");
  const at::Tensor never = at::zeros({10}, on_device());
  const WorkPtr work = child->recv(never, ranks.rank());
  ErrorKind kind = ErrorKind::unexpected;
  std::thread waiter([&] { kind = kind_thrown([&] { work->wait(); }); });
  doomed->poison(Error(ErrorKind::peer_lost, "rank 9 was lost"));
  waiter.join();
  EXPECT_EQ(kind, ErrorKind::peer_lost);
  doomed->poison(Error(ErrorKind::diverged, "a later reason"));
  EXPECT_EQ(doomed->poisoned()->message(), "rank 9 was lost");
  EXPECT_EQ(kind_thrown([&] { static_cast<void>(doomed->all_gather_bytes("x")); }),
            ErrorKind::peer_lost);
  // A split of a poisoned communicator is refused as well.
  EXPECT_EQ(kind_thrown([&] { static_cast<void>(child->split(0, 0, "grandchild")); }),
            ErrorKind::peer_lost);
  ranks.barrier()->wait();
}

inline void poison_ends_what_is_queued(Communicator& ranks) {
  if (ranks.size() == 1) return;
  const CommunicatorPtr doomed = ranks.split(0, 0, "doomed");
  if (ranks.rank() != 0) {
    std::vector<WorkPtr> works;
    for (int i = 0; i < 10; ++i)
      works.push_back(doomed->all_reduce(at::zeros({100'000}, on_device())));
    doomed->poison(Error(ErrorKind::out_of_memory, "no memory on rank 0"));
    for (const WorkPtr& work : works)
      EXPECT_EQ(kind_thrown([&] { work->wait(); }), ErrorKind::out_of_memory);
  }
  ranks.barrier()->wait();
}

inline void different_sizes_are_refused(Communicator& ranks) {
  if (ranks.size() == 1) return;
  const CommunicatorPtr doomed = ranks.split(0, 0, "doomed");
  doomed->set_deadline(std::chrono::seconds(1));
  const at::Tensor values = at::zeros({ranks.rank() == 0 ? 100 : 101}, on_device());
  // Whoever sees the difference leaves; a third rank may be left waiting for it.
  const ErrorKind kind = kind_thrown([&] { doomed->all_reduce(values)->wait(); });
  EXPECT_THAT(kind, testing::AnyOf(ErrorKind::ranks_differ, ErrorKind::hang));
  const at::Tensor seen =
      at::full({1}, kind == ErrorKind::ranks_differ ? 1 : 0, on_device(at::kLong));
  ranks.all_reduce(seen)->wait();
  EXPECT_GE(seen.item<int64_t>(), 1);
}

inline void wrong_arguments_are_refused(Communicator& ranks) {
  const at::Tensor matrix = at::zeros({4, 6}, on_device());
  EXPECT_ANY_THROW(static_cast<void>(ranks.all_reduce(matrix.t())));
  EXPECT_ANY_THROW(static_cast<void>(ranks.all_reduce(at::zeros({2}, on_device(at::kByte)))));
  EXPECT_ANY_THROW(static_cast<void>(ranks.broadcast(matrix, ranks.size())));
  EXPECT_ANY_THROW(static_cast<void>(
      ranks.all_gather(at::zeros({ranks.size() + 1}, on_device()), at::zeros({1}, on_device()))));
  EXPECT_EQ(ranks.poisoned(), nullptr);
  ranks.barrier()->wait();
}

inline const std::vector<CommunicatorCase> all{
    {"all_reduce", all_reduce},
    {"reduce_scatter", reduce_scatter},
    {"reduce_scatter_into_its_own_part", reduce_scatter_into_its_own_part},
    {"all_gather", all_gather},
    {"broadcast", broadcast},
    {"all_to_all", all_to_all},
    {"both_send_first", both_send_first, /*on_host_only=*/true},
    {"messages_keep_their_order_beside_collectives", messages_keep_their_order_beside_collectives,
     /*on_host_only=*/true},
    {"many_outstanding", many_outstanding},
    {"operations_on_one_tensor_follow_each_other", operations_on_one_tensor_follow_each_other},
    {"a_work_tells_its_time", a_work_tells_its_time},
    {"non_finite_values_stay", non_finite_values_stay},
    {"byte_strings", byte_strings},
    {"split_orders_by_key", split_orders_by_key},
    {"split_unevenly", split_unevenly},
    {"splits_nest", splits_nest},
    {"communicators_interleave", communicators_interleave},
    {"a_rank_that_never_enters_is_a_hang", a_rank_that_never_enters_is_a_hang,
     /*on_host_only=*/true},
    {"poison_wakes_a_waiter", poison_wakes_a_waiter, /*on_host_only=*/true},
    {"poison_ends_what_is_queued", poison_ends_what_is_queued, /*on_host_only=*/true},
    {"different_sizes_are_refused", different_sizes_are_refused, /*on_host_only=*/true},
    {"wrong_arguments_are_refused", wrong_arguments_are_refused},
};

}  // namespace communicator_cases
}  // namespace trireme::test
