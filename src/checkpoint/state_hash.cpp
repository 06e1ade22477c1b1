#include <trireme/checkpoint/reader.h>
#include <trireme/storage/safetensors.h>

#include <algorithm>
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

/// The values in logical order, some rows at a time.
void add_values(StateHasher& hasher, const Reader& reader, const std::string& name,
                const StoredTensor& tensor) {
  core::Box box = core::Box::whole(tensor.shape);
  const int64_t bytes = box.elements() * static_cast<int64_t>(c10::elementSize(tensor.dtype));
  const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
  if (bytes == 0) return;
  const int64_t row_bytes = bytes / rows;
  const int64_t rows_at_once = std::max<int64_t>(1, piece_bytes / row_bytes);
  std::vector<std::byte> values;
  for (int64_t row = 0; row < rows; row += rows_at_once) {
    const int64_t count = std::min(rows_at_once, rows - row);
    if (!tensor.shape.empty()) {
      box.offset[0] = row;
      box.size[0] = count;
    }
    values.resize(static_cast<size_t>(count * row_bytes));
    reader.read_bytes(name, box, values);
    hasher.bytes(values);
  }
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
