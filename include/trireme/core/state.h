#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::core {

/// A part of a logical tensor: from `offset`, `size` elements in each dimension. Equal ranks of both vectors.
struct Box {
  std::vector<int64_t> offset;
  std::vector<int64_t> size;

  /// The box that covers a whole tensor of this shape.
  [[nodiscard]] static Box whole(at::IntArrayRef shape);
  [[nodiscard]] int64_t elements() const;
  bool operator==(const Box&) const = default;
};

using Scalar = std::variant<bool, int64_t, double, std::string>;

/// Receives the state of components: named scalars, equal on all ranks, and shards of named logical tensors.
/// Names are those of the checkpoint: `model/<p>`, `master/<p>`, `optim/<slot>/<p>`, `ema/<p>`, `buffer/<b>`, `rng/<stream>`.
class StateWriter {
 public:
  virtual ~StateWriter();
  virtual void scalar(const std::string& name, const Scalar& value) = 0;
  /// A tensor that every rank holds whole and equal; the writer decides which rank stores it.
  virtual void replicated(const std::string& name, const at::Tensor& values) = 0;
  /// This rank's box of a logical tensor of `shape`; boxes of the ranks must not overlap and together cover the tensor.
  virtual void shard(const std::string& name, at::IntArrayRef shape, const Box& box, const at::Tensor& values) = 0;
};

/// Gives state back, whatever number of ranks wrote it.
class StateReader {
 public:
  virtual ~StateReader();
  [[nodiscard]] virtual bool has(const std::string& name) const = 0;
  /// Error of kind `no_checkpoint` if the scalar is absent.
  [[nodiscard]] virtual Scalar scalar(const std::string& name) const = 0;
  /// The logical tensor's shape; Error `no_checkpoint` if absent.
  [[nodiscard]] virtual std::vector<int64_t> shape(const std::string& name) const = 0;
  /// Copies the box of the logical tensor into `into` (contiguous, of the box's size and the stored dtype; no version bump).
  virtual void read(const std::string& name, const Box& box, const at::Tensor& into) const = 0;

  void read_whole(const std::string& name, const at::Tensor& into) const;
  [[nodiscard]] int64_t integer(const std::string& name) const;
  [[nodiscard]] double real(const std::string& name) const;
  [[nodiscard]] std::string text(const std::string& name) const;
};

/// A component that lives across steps. save_state and load_state are called on all ranks together.
class Stateful {
 public:
  virtual ~Stateful();
  virtual void save_state(StateWriter& out) const = 0;
  virtual void load_state(const StateReader& in) = 0;
};

}  // namespace trireme::core
