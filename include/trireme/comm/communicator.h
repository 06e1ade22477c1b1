#pragma once

#include <trireme/core/error.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::comm {

enum class ReduceOp { sum, max, min };

/// A collective or message under way. Keeps its tensors alive; they must not be touched until
/// wait() returned.
class Work {
 public:
  virtual ~Work();
  [[nodiscard]] virtual bool done() const = 0;
  /// Blocks the host until the operation is complete on this rank. Throws the communicator's Error
  /// if it failed, was poisoned, or did not complete before the communicator's deadline (which
  /// poisons it).
  virtual void wait() = 0;
  /// Nanoseconds from the start of the transfer to its end on the communication thread; 0 until
  /// done.
  [[nodiscard]] virtual int64_t busy_ns() const = 0;
};
using WorkPtr = std::shared_ptr<Work>;

/// N ranks that communicate. All ranks of the communicator call the same operations in the same
/// order; operations on communicators of one process are executed in the order they were issued, so
/// that order must agree between ranks too. Tensors are contiguous, on this communicator's device,
/// of dtype float32, float64, bfloat16, float16 or int64 (uint8 where only moved). Empty tensors
/// are legal. Destructors never communicate.
///
/// An element is always reduced in rank order (bfloat16 and float16 in float32, rounded once), so
/// results are bit-identical on all ranks, from run to run, between thread ranks and MPI, and
/// however a tensor is cut into operations: all_reduce gives the bits of reduce_scatter and
/// all_gather. A NaN on any rank makes a NaN in sum, max and min.
class Communicator {
 public:
  virtual ~Communicator();

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// What it is called in errors and traces: "world", "world/node", ...
  [[nodiscard]] virtual const std::string& name() const = 0;

  /// In place over `values`, the same shape on all ranks.
  [[nodiscard]] virtual WorkPtr all_reduce(const at::Tensor& values,
                                           ReduceOp op = ReduceOp::sum) = 0;
  /// `in` holds size() equal parts; rank r receives the reduction of all parts r in `out`
  /// (in.numel() == size() * out.numel()).
  [[nodiscard]] virtual WorkPtr reduce_scatter(const at::Tensor& out, const at::Tensor& in,
                                               ReduceOp op = ReduceOp::sum) = 0;
  /// `out` receives the ranks' `in` one after the other (out.numel() == size() * in.numel()). `in`
  /// may be its own part of `out`.
  [[nodiscard]] virtual WorkPtr all_gather(const at::Tensor& out, const at::Tensor& in) = 0;
  [[nodiscard]] virtual WorkPtr broadcast(const at::Tensor& values, int root) = 0;
  /// Part r of `in` goes to rank r; part r of `out` comes from rank r. Equal parts.
  [[nodiscard]] virtual WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in) = 0;
  [[nodiscard]] virtual WorkPtr send(const at::Tensor& values, int to) = 0;
  [[nodiscard]] virtual WorkPtr recv(const at::Tensor& values, int from) = 0;
  [[nodiscard]] virtual WorkPtr barrier() = 0;

  /// Blocking exchange of byte strings of any lengths, for set-up and reports; every rank calls.
  /// gather_bytes returns one string a rank on `root` and nothing elsewhere.
  [[nodiscard]] virtual std::vector<std::string> gather_bytes(std::string_view mine, int root) = 0;
  [[nodiscard]] virtual std::vector<std::string> all_gather_bytes(std::string_view mine) = 0;
  [[nodiscard]] virtual std::string broadcast_bytes(std::string_view mine, int root) = 0;

  /// The communicator of all ranks that gave the same colour, ordered by (key, rank). Every rank
  /// calls; negative colours get null.
  [[nodiscard]] virtual std::shared_ptr<Communicator> split(int color, int key,
                                                            const std::string& name) = 0;

  /// Makes every pending and later operation, here and in communicators split from this one, throw
  /// this Error. The first call wins. Callable from any thread.
  virtual void poison(const Error& reason) = 0;
  /// The Error it is poisoned with, or null.
  [[nodiscard]] virtual std::shared_ptr<const Error> poisoned() const = 0;

  /// How long one operation may take before it counts as hung (kind `hang`). Default 600 s.
  virtual void set_deadline(std::chrono::milliseconds deadline) = 0;
};
using CommunicatorPtr = std::shared_ptr<Communicator>;

}  // namespace trireme::comm
