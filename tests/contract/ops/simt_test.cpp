// The emulated machine itself: what kernels rely on, and what it must refuse.
#include "emulation/simt/cuda/simt.h"

#include <trireme/ops/bias.h>
#include <trireme/ops/cross_entropy.h>
#include <trireme/ops/dropout.h>
#include <trireme/ops/gelu.h>
#include <trireme/ops/swiglu.h>

#include "support/emulated_kernels.h"

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::cuda {
namespace {

using emulation::Order;
using emulation::OrderScope;
constexpr unsigned all = 0xffffffffU;
constexpr Order orders[] = {Order::ascending, Order::descending, Order::shuffled};

__global__ void write_places(unsigned* out) {
  out[(blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x] = threadIdx.x + 10000 * blockIdx.x + 100000 * blockIdx.y;
}

TEST(Simt, EveryThreadOfTheGridRunsOnce) {
  for (const Order order : orders) {
    const OrderScope scope(order);
    for (const unsigned threads : {32U, 96U, 1024U}) {
      std::vector<unsigned> out(6 * threads, 7777777);
      launch(write_places, {3, 2}, threads, {}, out.data());
      for (unsigned i = 0; i < out.size(); ++i)
        ASSERT_EQ(out[i], i % threads + 10000 * (i / threads % 3) + 100000 * (i / threads / 3));
    }
  }
  launch(write_places, {0, 2}, 32, {}, nullptr);
  launch(write_places, {2, 0}, 32, {}, nullptr);
  EXPECT_THROW(launch(write_places, {}, 33, {}, nullptr), std::runtime_error);
  EXPECT_THROW(launch(write_places, {}, 2048, {}, nullptr), std::runtime_error);
}

// Block-wide sums by shared memory: each block adds its number.
__global__ void sum_by_tree(const float* x, float* out) {
  __shared__ float part[1024];
  part[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = part[0] + static_cast<float>(blockIdx.x);
}

TEST(Simt, BarriersOrderTheThreadsOfABlock) {
  for (const Order order : orders) {
    const OrderScope scope(order);
    for (const unsigned threads : {32U, 256U, 1024U}) {
      const std::vector<float> x(threads, 1);
      std::vector<float> out(4);
      launch(sum_by_tree, {4}, threads, {}, x.data(), out.data());
      const auto n = static_cast<float>(threads);
      EXPECT_THAT(out, testing::ElementsAre(n, n + 1, n + 2, n + 3));
    }
  }
}

template <bool with_barrier>
__global__ void reverse(const int* x, int* out) {
  __shared__ int held[64];
  held[threadIdx.x] = x[threadIdx.x];
  if constexpr (with_barrier) __syncthreads();
  out[threadIdx.x] = held[63 - threadIdx.x];
}

TEST(Simt, AMissingBarrierShowsInAnotherOrder) {
  int call = 0;
  const auto results = [&](auto kernel) {
    std::vector<std::vector<int>> all_orders;
    for (const Order order : orders) {
      const OrderScope scope(order);
      std::vector<int> x(64), out(64);
      for (int& value : x) value = ++call;  // what an earlier launch left is never right
      launch(kernel, {}, 64, {}, x.data(), out.data());
      for (size_t i = 0; i < 64; ++i) out[i] -= x[63 - i];
      all_orders.push_back(out);
    }
    return all_orders;
  };
  for (const auto& differences : results(reverse<true>)) EXPECT_EQ(differences, std::vector<int>(64));
  for (const auto& differences : results(reverse<false>)) EXPECT_NE(differences, std::vector<int>(64));
}

struct Shuffled {
  int x, down, up, from;
  double turned;
  unsigned even;
  int any, every;
};
__global__ void shuffle(Shuffled* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32, value = static_cast<int>(threadIdx.x) * 3;
  Shuffled s{};
  int sum = value;
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(all, sum, bits);
  s.x = sum;
  s.down = __shfl_down_sync(all, value, 5);
  s.up = __shfl_up_sync(all, value, 5);
  s.from = __shfl_sync(all, value, 7);
  s.turned = __shfl_sync(all, lane * 0.5, 31 - lane);
  s.even = __ballot_sync(all, lane % 2 == 0);
  s.any = __any_sync(all, lane == 3);
  s.every = __all_sync(all, lane == 3);
  __syncwarp();
  out[threadIdx.x] = s;
}

TEST(Simt, LanesOfAWarpExchangeValues) {
  for (const Order order : orders) {
    const OrderScope scope(order);
    std::vector<Shuffled> out(96);
    launch(shuffle, {}, 96, {}, out.data());
    for (int i = 0; i < 96; ++i) {
      const int lane = i % 32, first = i - lane;
      const Shuffled& s = out[static_cast<size_t>(i)];
      EXPECT_EQ(s.x, 3 * (32 * first + 31 * 16));
      EXPECT_EQ(s.down, 3 * (lane + 5 < 32 ? i + 5 : i));
      EXPECT_EQ(s.up, 3 * (lane >= 5 ? i - 5 : i));
      EXPECT_EQ(s.from, 3 * (first + 7));
      EXPECT_EQ(s.turned, 0.5 * (31 - lane));
      EXPECT_EQ(s.even, 0x55555555U);
      EXPECT_EQ(s.any, 1);
      EXPECT_EQ(s.every, 0);
    }
  }
}

// Warps that make different numbers of exchanges before the barrier.
__global__ void uneven(int* out) {
  int value = 1;
  for (unsigned turn = 0; turn <= threadIdx.x / 32; ++turn) value += __shfl_xor_sync(all, value, 1);
  __syncthreads();
  out[threadIdx.x] = value;
}

TEST(Simt, WarpsGoTheirOwnWay) {
  std::vector<int> out(128);
  launch(uneven, {}, 128, {}, out.data());
  for (size_t i = 0; i < 128; ++i) EXPECT_EQ(out[i], 2 << (i / 32));
}

enum class Fault { ended_before_barrier, ended_before_shuffle, two_barriers, barrier_and_shuffle, two_shuffles, mask, thrown, misaligned };
__global__ void wrong(Fault fault, float* memory) {
  const bool odd = threadIdx.x == 41;
  switch (fault) {
    case Fault::ended_before_barrier:
      if (!odd) __syncthreads();
      break;
    case Fault::ended_before_shuffle:
      if (!odd) __shfl_xor_sync(all, 1, 1);
      break;
    case Fault::two_barriers:
      if (odd)
        __syncthreads();
      else
        __syncthreads();
      break;
    case Fault::barrier_and_shuffle:
      if (odd)
        __syncwarp();
      else
        __syncthreads();
      break;
    case Fault::two_shuffles:
      if (odd)
        __shfl_xor_sync(all, 1, 1);
      else
        __shfl_xor_sync(all, 1, 2);
      break;
    case Fault::mask:
      __syncwarp(0xffU);
      break;
    case Fault::thrown:
      __syncthreads();
      if (odd) throw std::out_of_range("of a thread");
      __syncthreads();
      break;
    case Fault::misaligned: {
      struct Sixteen {
        float values[4];
      };
      (void)load_streaming(reinterpret_cast<const Sixteen*>(memory + 1));
    }
  }
}

std::string problem(Fault fault) {
  alignas(16) float memory[8] = {};
  try {
    launch(wrong, {2}, 64, {}, fault, memory);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(Simt, WhatHardwareLeavesUndefinedIsAnError) {
  using testing::AllOf;
  using testing::HasSubstr;
  for (const Order order : orders) {
    const OrderScope scope(order);
    EXPECT_THAT(problem(Fault::ended_before_barrier), AllOf(HasSubstr("waits for its block at simt_test.cpp:"), HasSubstr("thread 41 has ended")));
    EXPECT_THAT(problem(Fault::ended_before_shuffle), AllOf(HasSubstr("thread 32 waits for its warp"), HasSubstr("thread 41 has ended")));
    EXPECT_THAT(problem(Fault::two_barriers), HasSubstr("thread 41 waits at simt_test.cpp:"));
    EXPECT_THAT(problem(Fault::barrier_and_shuffle), HasSubstr("thread 41 waits at simt_test.cpp:"));
    EXPECT_THAT(problem(Fault::two_shuffles), HasSubstr("thread 41 waits at simt_test.cpp:"));
    EXPECT_THAT(problem(Fault::mask), HasSubstr("partial mask at simt_test.cpp:"));
    EXPECT_EQ(problem(Fault::thrown), "of a thread");
    EXPECT_THAT(problem(Fault::misaligned), HasSubstr("misaligned load at simt_test.cpp:"));
    // The machine is as good as new.
    const std::vector<float> x(1024, 1);
    float sum = 0;
    launch(sum_by_tree, {1}, 1024, {}, x.data(), &sum);
    EXPECT_EQ(sum, 1024);
  }
}

TEST(Simt, RunsTheKernelsOfEveryOperation) {
  EmulatedKernels kernels;
  const ops::KernelScope scope(kernels);
  const auto launched = [](const std::function<at::Tensor()>& operation) {
    const uint64_t before = emulation::launches();
    const at::Tensor y = operation();
    const uint64_t forward = emulation::launches();
    torch::autograd::backward({y.sum()});
    return std::pair(forward - before, emulation::launches() - forward);
  };
  const at::Tensor x = at::randn({4, 8}).requires_grad_(true), bias = at::randn({8}).requires_grad_(true);
  const at::Tensor labels = at::zeros({4}, at::TensorOptions(at::kLong));
  const auto counts = [](uint64_t forward, uint64_t backward) { return testing::Pair(forward, backward); };
  EXPECT_THAT(launched([&] { return ops::gelu_tanh(x); }), counts(1, 1));
  EXPECT_THAT(launched([&] { return ops::swiglu(x, x); }), counts(1, 1));
  EXPECT_THAT(launched([&] { return ops::add_bias(x, x, bias); }), counts(1, 2));
  EXPECT_THAT(launched([&] { return ops::dropout(x, 0.5, labels, "here"); }), counts(2, 1));
  EXPECT_THAT(launched([&] { return ops::cross_entropy_sum(x, labels).loss_sum; }), counts(2, 1));
}

}  // namespace
}  // namespace trireme::cuda
