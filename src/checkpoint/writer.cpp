#include <trireme/checkpoint/writer.h>
#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include "checkpoint/boxes.h"
#include "checkpoint/scalar_json.h"

namespace trireme::checkpoint {
namespace {

void check_tensor(const std::string& name, const at::Tensor& values) {
  check(is_utf8(name), "a name in a checkpoint is UTF-8");
  check(values.defined(), "a tensor of a checkpoint has values: " + name);
  check(!storage::safetensors_dtype(values.scalar_type()).empty(),
        "a checkpoint can hold this type of tensor: " + name);
}

}  // namespace

void Writer::scalar(const std::string& name, const core::Scalar& value) {
  check(is_utf8(name), "a name in a checkpoint is UTF-8");
  check(collected_.scalars.emplace(name, value).second, "a scalar is saved once: " + name);
}

void Writer::replicated(const std::string& name, const at::Tensor& values) {
  check_tensor(name, values);
  check(names_.emplace(name, false).second, "a tensor is saved once: " + name);
  collected_.replicated.emplace(name, values);
}

void Writer::shard(const std::string& name, at::IntArrayRef shape, const core::Box& box,
                   const at::Tensor& values) {
  check_tensor(name, values);
  check(names_.emplace(name, true).first->second, "a tensor is replicated or sharded: " + name);
  check(inside(box, shape), "a shard lies in its tensor: " + name);
  check(values.sizes() == at::IntArrayRef(box.size), "a shard has the shape of its box: " + name);
  check(shapes_.emplace(name, shape.vec()).first->second == shape.vec(),
        "all shards of a tensor name the same shape: " + name);
  collected_.shards.push_back({name, shape.vec(), box, values});
}

}  // namespace trireme::checkpoint
