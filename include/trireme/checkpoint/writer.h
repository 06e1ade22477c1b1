#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/state.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

namespace trireme::checkpoint {

/// State as components hand it over. Keeps the tensors alive and copies nothing: they must not
/// change until the commit is over.
struct Collected {
  struct Shard {
    std::string name;
    std::vector<int64_t> shape;  ///< of the logical tensor
    core::Box box;
    at::Tensor values;
  };
  std::map<std::string, core::Scalar> scalars;
  std::map<std::string, at::Tensor> replicated;
  std::vector<Shard> shards;
};

/// Which checkpoint is written where.
struct Target {
  std::filesystem::path folder;  ///< the folder of checkpoints, equal on all ranks
  int64_t step = 0;
  std::string run_id;      ///< letters, digits, '-' and '_'; another for every attempt
  nlohmann::json extras;   ///< configuration, versions, ...; taken from rank 0
  bool read_back = false;  ///< read every file once more before the checkpoint counts as saved
};

struct Committed {
  std::filesystem::path path;
  int64_t bytes = 0;  ///< of all files
  int64_t files = 0;
};

/// Writes a checkpoint and makes it durable; every rank of `ranks` calls it. Each rank writes one
/// file, replicated tensors are spread over the ranks, no byte is written twice. On return it is
/// saved, on all ranks; a checkpoint of the same step that existed before is replaced. If anything
/// fails on any rank, all ranks throw the same Error, nothing is left of it and what was saved
/// before is untouched. Kinds: storage; ranks_differ if scalars, replicated tensors or boxes do not
/// fit together.
Committed commit(const Collected& state, comm::Communicator& ranks, const Target& target);

/// Collects the state of components. Names are given once, but for the boxes of one tensor; tensors
/// may lie on any device and need not be contiguous.
class Writer final : public core::StateWriter {
 public:
  void scalar(const std::string& name, const core::Scalar& value) override;
  void replicated(const std::string& name, const at::Tensor& values) override;
  void shard(const std::string& name, at::IntArrayRef shape, const core::Box& box,
             const at::Tensor& values) override;

  [[nodiscard]] const Collected& collected() const { return collected_; }
  Committed commit(comm::Communicator& ranks, const Target& target) const {
    return checkpoint::commit(collected_, ranks, target);
  }

 private:
  Collected collected_;
  std::map<std::string, std::vector<int64_t>> shapes_;  // of sharded tensors
  std::map<std::string, bool> names_;                   // of tensors: whether sharded
};

}  // namespace trireme::checkpoint
