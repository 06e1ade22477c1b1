#include <trireme/checkpoint/reader.h>
#include <trireme/storage/safetensors.h>

#include "checkpoint/pieces.h"

#include <bit>

#include <c10/core/ScalarType.h>

namespace trireme::checkpoint {
namespace {

constexpr int64_t piece_bytes = 4 << 20;

/// Every value is preceded by its length where lengths vary, so no two states give the same bytes.
class StateHasher {
 public:
  void number(uint64_t value) { hasher_.update(&value, sizeof(value)); }
  void text(std::string_view value) {
    number(value.size());
    hasher_.update(value);
  }
  void value(bool v) { number(v ? 1 : 0); }
  void value(int64_t v) { number(static_cast<uint64_t>(v)); }
  void value(double v) { number(std::bit_cast<uint64_t>(v)); }
  void value(const std::string& v) { text(v); }
  void bytes(const std::vector<std::byte>& values) { hasher_.update(values.data(), values.size()); }
  [[nodiscard]] storage::Hash128 digest() const { return hasher_.digest(); }

 private:
  storage::Hasher hasher_;
};

/// The values in logical order, a piece at a time.
void add_values(StateHasher& hasher, const Reader& reader, const std::string& name,
                const StoredTensor& tensor) {
  const auto item = static_cast<int64_t>(c10::elementSize(tensor.dtype));
  std::vector<std::byte> values;
  for_each_piece(tensor.shape, piece_bytes / item, [&](const core::Box& piece) {
    values.resize(static_cast<size_t>(piece.elements() * item));
    reader.read_bytes(name, piece, values);
    hasher.bytes(values);
  });
}

}  // namespace

storage::Hash128 state_hash(const Reader& reader) {
  StateHasher hasher;
  const Manifest& manifest = reader.manifest();
  hasher.number(manifest.tensors.size());
  for (const auto& [name, tensor] : manifest.tensors) {
    hasher.text(name);
    hasher.text(storage::safetensors_dtype(tensor.dtype));
    hasher.number(tensor.shape.size());
    for (const int64_t size : tensor.shape) hasher.value(size);
    add_values(hasher, reader, name, tensor);
  }
  hasher.number(manifest.scalars.size());
  for (const auto& [name, scalar] : manifest.scalars) {
    hasher.text(name);
    hasher.number(scalar.index());
    std::visit([&](const auto& value) { hasher.value(value); }, scalar);
  }
  return hasher.digest();
}

}  // namespace trireme::checkpoint
