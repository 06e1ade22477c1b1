#include <trireme/autograd/activation_storage.h>
#include <trireme/core/error.h>

#include "autograd/block_int8.h"
#include "autograd/kept_tensor.h"

#include <compare>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/ATen.h>

namespace trireme::autograd {

namespace {

constexpr int64_t fewest_elements = 1024;
constexpr int64_t fewest_dimensions_without_grad = 4;

const void* storage_of(const at::Tensor& tensor) {
  return tensor.storage().unsafeGetStorageImpl();
}

// What makes two saved tensors the same.
struct Identity {
  explicit Identity(const at::Tensor& tensor)
      : storage(storage_of(tensor)),
        offset(tensor.storage_offset()),
        version(tensor._version()),
        type(tensor.scalar_type()),
        sizes(tensor.sizes().vec()),
        strides(tensor.strides().vec()) {}
  auto operator<=>(const Identity&) const = default;

  const void* storage;
  int64_t offset;
  int64_t version;
  at::ScalarType type;
  std::vector<int64_t> sizes, strides;
};

// One tensor in another form.
class Encoded {
 public:
  Encoded(const at::Tensor& tensor, ActivationForm form)
      : options_(tensor.options().requires_grad(false)) {
    if (form == ActivationForm::bf16) values_ = tensor.detach().to(at::kBFloat16);
    if (form == ActivationForm::host) values_ = tensor.detach().to(at::kCPU);
    if (form == ActivationForm::int8) values_ = in_int8(tensor.detach());
  }

  [[nodiscard]] at::Tensor decoded() const {
    if (const auto* same_shape = std::get_if<at::Tensor>(&values_)) return same_shape->to(options_);
    const auto& stored = std::get<Int8>(values_);
    at::Tensor values = at::empty_strided(stored.sizes, stored.strides, options_);
    from_int8(stored.numbers, in_memory_order(values));
    return values;
  }

  [[nodiscard]] int64_t bytes() const {
    const auto bytes_of = [](const at::Tensor& tensor) {
      return static_cast<int64_t>(tensor.nbytes());
    };
    if (const auto* same_shape = std::get_if<at::Tensor>(&values_)) return bytes_of(*same_shape);
    const auto& stored = std::get<Int8>(values_);
    return bytes_of(stored.numbers.integers) + bytes_of(stored.numbers.scales);
  }

 private:
  struct Int8 {
    BlockInt8 numbers;
    std::vector<int64_t> sizes, strides;
  };

  // Of a tensor without gaps in memory.
  static at::Tensor in_memory_order(const at::Tensor& dense) {
    return dense.as_strided({dense.numel()}, {1}, dense.storage_offset());
  }
  static Int8 in_int8(const at::Tensor& tensor) {
    const at::Tensor dense = tensor.is_non_overlapping_and_dense() ? tensor : tensor.contiguous();
    return {to_int8(in_memory_order(dense)), dense.sizes().vec(), dense.strides().vec()};
  }

  at::TensorOptions options_;
  std::variant<at::Tensor, Int8> values_;
};

}  // namespace

// A tensor on the shelf. Holds on to the identity of the original (not its memory): no other tensor
// gets the same address.
class ActivationStorage::Stored {
 public:
  Stored(std::shared_ptr<Shelf> shelf, const at::Tensor& tensor);
  ~Stored();
  Stored(const Stored&) = delete;
  Stored& operator=(const Stored&) = delete;
  [[nodiscard]] const Encoded& encoded() const { return encoded_; }

 private:
  std::shared_ptr<Shelf> shelf_;
  Identity identity_;
  c10::weak_intrusive_ptr<c10::StorageImpl> original_;
  Encoded encoded_;
};

class ActivationStorage::Shelf : public std::enable_shared_from_this<Shelf> {
 public:
  Shelf(ActivationForm form, const core::ParameterSet& kept) : form_(form) {
    for (const core::Parameter& p : kept)
      if (p.tensor.has_storage()) kept_.insert(storage_of(p.tensor));
  }

  [[nodiscard]] bool takes(const at::Tensor& tensor) const {
    if (tensor.layout() != at::kStrided || !tensor.has_storage() || tensor.is_neg() ||
        tensor.is_conj() || tensor.numel() < fewest_elements || is_parameter(tensor) ||
        kept_.contains(storage_of(tensor)))
      return false;
    // An expanded tensor has more elements than memory.
    if (tensor.storage().nbytes() < tensor.nbytes()) return false;
    if (form_ == ActivationForm::host) return !tensor.is_cpu();
    return tensor.scalar_type() == at::kFloat &&
           (tensor.requires_grad() || tensor.dim() >= fewest_dimensions_without_grad);
  }

  std::shared_ptr<const Stored> put(const at::Tensor& tensor) {
    const Identity identity(tensor);
    {
      const std::lock_guard lock(mutex_);
      const auto found = stored_.find(identity);
      if (found != stored_.end())
        if (auto stored = found->second.lock()) return stored;
    }
    auto stored = std::make_shared<const Stored>(shared_from_this(), tensor);
    const std::lock_guard lock(mutex_);
    stored_[identity] = stored;
    tensors_ += 1;
    bytes_ += stored->encoded().bytes();
    return stored;
  }

  void forget(const Identity& identity, int64_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = stored_.find(identity);
    if (found != stored_.end() && found->second.expired()) stored_.erase(found);
    tensors_ -= 1;
    bytes_ -= bytes;
  }

  [[nodiscard]] ActivationForm form() const { return form_; }
  [[nodiscard]] int64_t tensors() const {
    const std::lock_guard lock(mutex_);
    return tensors_;
  }
  [[nodiscard]] int64_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  const ActivationForm form_;
  std::set<const void*> kept_;
  mutable std::mutex mutex_;
  std::map<Identity, std::weak_ptr<const Stored>> stored_;
  int64_t tensors_ = 0, bytes_ = 0;
};

ActivationStorage::Stored::Stored(std::shared_ptr<Shelf> shelf, const at::Tensor& tensor)
    : shelf_(std::move(shelf)),
      identity_(tensor),
      original_(tensor.storage().getWeakStorageImpl()),
      encoded_(tensor, shelf_->form()) {}
ActivationStorage::Stored::~Stored() {
  shelf_->forget(identity_, encoded_.bytes());
}

class ActivationStorage::Activation final : public SavedTensor {
 public:
  explicit Activation(std::shared_ptr<Shelf> shelf) : shelf_(std::move(shelf)) {}

  void pack(const at::Tensor& tensor) override {
    if (shelf_->takes(tensor))
      stored_ = shelf_->put(tensor);
    else
      kept_ = KeptTensor(tensor);
  }

  at::Tensor unpack() override {
    if (stored_) return stored_->encoded().decoded();
    if (kept_.changed())
      throw Error(ErrorKind::plugin_failed,
                  "a tensor that autograd saved was changed in place before its backward",
                  "use the operation that returns a new tensor");
    return kept_.tensor();
  }

 private:
  std::shared_ptr<Shelf> shelf_;
  std::shared_ptr<const Stored> stored_;
  KeptTensor kept_;
};

ActivationStorage::ActivationStorage(ActivationForm form, const core::ParameterSet& kept)
    : shelf_(std::make_shared<Shelf>(form, kept)) {}
ActivationStorage::~ActivationStorage() = default;

std::unique_ptr<SavedTensor> ActivationStorage::make() {
  return std::make_unique<Activation>(shelf_);
}

int64_t ActivationStorage::stored_tensors() const {
  return shelf_->tensors();
}
int64_t ActivationStorage::stored_bytes() const {
  return shelf_->bytes();
}

}  // namespace trireme::autograd
