#include "checkpoint/host_buffer.h"

#include <new>

#include <ATen/ops/empty.h>

namespace trireme::checkpoint {
namespace {

constexpr std::align_val_t cache_line{64};

}  // namespace

void HostBuffer::Free::operator()(std::byte* memory) const {
  ::operator delete[](memory, cache_line);
}

std::byte* HostBuffer::reserve(int64_t bytes, bool page_locked) {
  if (page_locked) {
    if (!page_locked_.defined() || page_locked_.numel() < bytes) {
      page_locked_.reset();
      page_locked_ = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
    }
    return static_cast<std::byte*>(page_locked_.mutable_data_ptr());
  }
  if (bytes > bytes_) {
    memory_.reset();  // before the new one: both need not fit
    bytes_ = 0;
    memory_.reset(
        static_cast<std::byte*>(::operator new[](static_cast<size_t>(bytes), cache_line)));
    bytes_ = bytes;
  }
  return memory_.get();
}

}  // namespace trireme::checkpoint
