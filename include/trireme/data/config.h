#pragma once

#include <trireme/data/sampler.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace trireme::data {

/// One step of what is done to the field `image` of a batch while it is loaded. `mean` and `std`
/// belong to normalize (one value, or one a channel), `padding` to random_crop.
struct TransformConfig {
  std::string name = "normalize";
  std::vector<double> mean = {};
  std::vector<double> std = {};
  int64_t padding = 0;

  template <class B>
  void bind(B& b) {
    b.key("name", name)
        .doc(
            "normalize: (x - mean) / std, of uint8 after division by 255; random_crop: shift by up "
            "to `padding` "
            "pixels; flip: mirror left and right every other time; the random ones are for "
            "training only")
        .one_of({"normalize", "random_crop", "flip"})
        .identity();
    b.key("mean", mean).doc("normalize: one value, or one a channel").identity();
    b.key("std", std).doc("normalize: one value, or one a channel").identity();
    b.key("padding", padding).doc("random_crop: how far").unit("pixels").at_least(0).identity();
  }
};

struct DataConfig {
  std::vector<std::string> train = {};
  std::vector<std::string> eval = {};
  std::optional<int64_t> sequence_length;
  bool shuffle = true;
  std::string last_batch = "short";
  int64_t workers = 2;
  bool pin_memory = true;
  std::vector<TransformConfig> transforms = {};

  template <class B>
  void bind(B& b) {
    b.key("train", train)
        .doc(
            "HDF5 files to train on: a path, a glob, or a list of them; or synthetic:tokens, "
            "synthetic:image")
        .identity();
    b.key("eval", eval).doc("files to evaluate on, as for train");
    b.key("sequence_length", sequence_length)
        .doc("tokens of one sample; null: the model's context")
        .unit("tokens")
        .at_least(1)
        .identity();
    b.key("shuffle", shuffle).doc("another order of the samples in every epoch").identity();
    b.key("last_batch", last_batch)
        .doc("what becomes of the samples that do not fill the last global batch of an epoch")
        .one_of({"short", "drop"})
        .identity();
    b.key("workers", workers)
        .doc("threads that load batches ahead; 0: none, the training thread loads")
        .at_least(0)
        .at_most(256);
    b.key("pin_memory", pin_memory)
        .doc("for GPUs: batches lie in page-locked memory, from where they are copied while the step before computes");
    b.key("transforms", transforms)
        .doc("what is done to the field `image`, in this order")
        .identity();
  }

  [[nodiscard]] LastBatch last_batch_policy() const {
    return last_batch == "drop" ? LastBatch::drop : LastBatch::keep_short;
  }
};

}  // namespace trireme::data
