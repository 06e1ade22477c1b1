#include <trireme/checkpoint/reader.h>
#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include "checkpoint/boxes.h"
#include "checkpoint/damage.h"
#include "checkpoint/shards.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/ScalarType.h>

#include <fmt/core.h>

namespace trireme::checkpoint {
namespace {

[[noreturn]] void absent(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorKind::no_checkpoint, fmt::format("{}: {}", path.native(), what),
              "the checkpoint is of another model or configuration");
}

}  // namespace

Reader::Reader(const std::filesystem::path& checkpoint)
    : path_(checkpoint),
      manifest_(read_manifest(checkpoint)),
      shards_(std::make_unique<Shards>(checkpoint, manifest_)) {}

Reader::~Reader() = default;

bool Reader::has(const std::string& name) const {
  return manifest_.tensors.contains(name) || manifest_.scalars.contains(name);
}

core::Scalar Reader::scalar(const std::string& name) const {
  const auto found = manifest_.scalars.find(name);
  if (found == manifest_.scalars.end()) absent(path_, fmt::format("there is no scalar '{}'", name));
  return found->second;
}

const StoredTensor& Reader::tensor(const std::string& name) const {
  const auto found = manifest_.tensors.find(name);
  if (found == manifest_.tensors.end()) absent(path_, fmt::format("there is no tensor '{}'", name));
  return found->second;
}

std::vector<int64_t> Reader::shape(const std::string& name) const {
  return tensor(name).shape;
}

at::ScalarType Reader::dtype(const std::string& name) const {
  return tensor(name).dtype;
}

void Reader::read(const std::string& name, const core::Box& box, const at::Tensor& into) const {
  const StoredTensor& stored = tensor(name);
  if (into.scalar_type() != stored.dtype)
    absent(path_,
           fmt::format("tensor '{}' is {}, not {}", name, storage::safetensors_dtype(stored.dtype),
                       c10::toString(into.scalar_type())));
  check(into.is_contiguous() && into.sizes() == at::IntArrayRef(box.size),
        "a box is read into contiguous memory of its shape: " + name);
  const size_t bytes = into.nbytes();
  if (into.device().is_cpu()) {
    // Past autograd: the version counter stays.
    read_bytes(name, box, {static_cast<std::byte*>(into.mutable_data_ptr()), bytes});
    return;
  }
  std::vector<std::byte> staged(bytes);
  read_bytes(name, box, staged);
  const at::AutoDispatchBelowADInplaceOrView past_autograd;
  into.copy_(at::from_blob(staged.data(), into.sizes(), at::TensorOptions(stored.dtype)));
}

void Reader::read_bytes(const std::string& name, const core::Box& box,
                        std::span<std::byte> into) const {
  const StoredTensor& stored = tensor(name);
  check(inside(box, stored.shape), "a box that is read lies in its tensor: " + name);
  const auto item = static_cast<int64_t>(c10::elementSize(stored.dtype));
  check(static_cast<int64_t>(into.size()) == box.elements() * item,
        "a box is read into memory of its size: " + name);
  if (into.empty()) return;
  int64_t elements = 0;
  for (const StoredBox& source : stored.boxes) {
    const auto part = intersect(source.box, box);
    if (!part) continue;
    shards_->read(name, stored, source, [&](BoxBytes& from) {
      for_each_run(*part, source.box, box, [&](int64_t there, int64_t here, int64_t count) {
        from.take(there * item, into.subspan(static_cast<size_t>(here * item),
                                             static_cast<size_t>(count * item)));
        elements += count;
      });
    });
  }
  if (elements != box.elements())
    throw_damaged(path_ / manifest_name,
                  fmt::format("tensor '{}' {}: {} elements are nowhere", name, to_text(box),
                              box.elements() - elements));
}

void Reader::verify() const {
  check_nothing_extra(path_, manifest_);
  const size_t files = manifest_.files.size();
  std::vector<std::exception_ptr> problems(files);
  std::atomic<size_t> next = 0;
  const auto verify_files = [&] {
    for (size_t file = next++; file < files; file = next++) {
      try {
        shards_->verify_file(file);
      } catch (...) {
        problems[file] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> others;
    const size_t threads = std::min<size_t>(files, std::thread::hardware_concurrency());
    try {
      while (others.size() + 1 < threads) others.emplace_back(verify_files);
    } catch (const std::system_error&) {
      // No more threads are to be had; those that are there do it.
    }
    verify_files();
  }
  for (const std::exception_ptr& problem : problems)
    if (problem) std::rethrow_exception(problem);
}

}  // namespace trireme::checkpoint
