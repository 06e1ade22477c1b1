#pragma once

#include <trireme/core/error.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::comm {

enum class ReduceOp { sum, max, min };

/// When a transfer was under way, on the clock of telemetry::now_ns().
struct Interval {
  int64_t start_ns = 0;
  int64_t end_ns = 0;
};

/// A collective or message under way. Holds its tensors until wait(); until then they must not be
/// touched.
class Work {
 public:
  virtual ~Work();
  /// Whether the operation is complete. On a device the answer is no while it is not known.
  [[nodiscard]] virtual bool done() const = 0;
  /// Puts what the caller does next behind the operation, and throws the communicator's Error if it
  /// is known to have failed or to be poisoned.
  ///
  /// On the CPU it blocks the host until the operation is complete on this rank. If it is not
  /// before the communicator's deadline, that poisons the communicator and throws.
  /// On a device it makes the calling thread's current stream wait, and the host goes on. Call it
  /// on the stream that uses the tensors next, and frees them. What fails later, a deadline that
  /// passes too, poisons the communicator and ends what waits on the device: whoever has read
  /// values from the device looks at poisoned() before he believes them.
  virtual void wait() = 0;
  /// wait(), and blocks the host until the operation is complete on this rank, on a device too.
  virtual void wait_on_host() { wait(); }
  /// Nanoseconds from the start of the transfer to its end, on the communication thread or the
  /// device; 0 until done, and where it is not known. Never blocks.
  [[nodiscard]] virtual int64_t busy_ns() const = 0;
  /// When that was; nothing until done, and where it is not known. Never blocks.
  [[nodiscard]] virtual std::optional<Interval> interval() const { return std::nullopt; }
};
using WorkPtr = std::shared_ptr<Work>;

/// N ranks that communicate. All ranks of the communicator call the same operations in the same
/// order; operations on communicators of one process are executed in the order they were issued, so
/// that order must agree between ranks too. Tensors are contiguous, on this communicator's device,
/// of dtype float32, float64, bfloat16, float16 or int64 (uint8 where only moved). Empty tensors
/// are legal. Destructors never communicate.
///
/// On the CPU an element is always reduced in rank order (bfloat16 and float16 in float32, rounded
/// once), so results are bit-identical on all ranks, from run to run, between thread ranks and MPI,
/// and however a tensor is cut into operations: all_reduce gives the bits of reduce_scatter and
/// all_gather. A NaN on any rank makes a NaN in sum, max and min.
///
/// On a device its library chooses the order: results are bit-identical on all ranks, and from run
/// to run of the same ranks and sizes. A NaN makes a NaN in sum; max and min may lose it. Messages
/// are executed in their turn as collectives are: of two ranks that exchange messages one sends
/// while the other receives, and none sends to itself. Nobody checks that sizes agree.
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
  /// Its wait() returns, on a device its stream goes on, when all ranks have come this far.
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
  [[nodiscard]] virtual std::chrono::milliseconds deadline() const = 0;
};
using CommunicatorPtr = std::shared_ptr<Communicator>;

}  // namespace trireme::comm
