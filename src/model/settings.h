#pragma once

// The section `model.config`: one struct for each built-in model.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace trireme::model {

/// GPT-2 (Radford et al. 2019) with the shapes and names of Hugging Face's GPT2LMHeadModel.
struct Gpt2Settings {
  int64_t vocab_size = 50257;
  int64_t n_positions = 1024;
  int64_t n_embd = 768;
  int64_t n_layer = 12;
  int64_t n_head = 12;
  std::optional<int64_t> n_inner;
  double dropout = 0.0;
  double layer_norm_epsilon = 1e-5;

  [[nodiscard]] int64_t inner() const { return n_inner.value_or(4 * n_embd); }

  template <class B>
  void bind(B& b) {
    b.key("vocab_size", vocab_size).doc("number of tokens").at_least(1).identity();
    b.key("n_positions", n_positions).doc("longest context").unit("tokens").at_least(1).identity();
    b.key("n_embd", n_embd).doc("width, a multiple of n_head").at_least(1).identity();
    b.key("n_layer", n_layer).doc("number of blocks").at_least(1).identity();
    b.key("n_head", n_head).doc("attention heads of a block").at_least(1).identity();
    b.key("n_inner", n_inner)
        .doc("width inside a block's MLP; null: 4 n_embd")
        .at_least(1)
        .identity();
    b.key("dropout", dropout)
        .doc("probability, on embeddings, attention and residuals")
        .at_least(0)
        .below(1)
        .identity();
    b.key("layer_norm_epsilon", layer_norm_epsilon)
        .doc("added to the variance")
        .above(0)
        .identity();
  }
};

/// Fully connected layers on `features`, or on an `image` as one row of pixels.
struct MlpSettings {
  int64_t inputs = 784;
  std::vector<int64_t> hidden = {256, 128};
  int64_t classes = 10;
  std::string activation = "relu";
  double dropout = 0.0;

  template <class B>
  void bind(B& b) {
    b.key("inputs", inputs)
        .doc("features, or pixels x channels, of a sample")
        .at_least(1)
        .identity();
    b.key("hidden", hidden)
        .doc("widths of the hidden layers, first to last")
        .at_least(1)
        .identity();
    b.key("classes", classes).doc("number of labels").at_least(1).identity();
    b.key("activation", activation)
        .doc("after each hidden layer")
        .one_of({"relu", "gelu"})
        .identity();
    b.key("dropout", dropout)
        .doc("probability, after each hidden layer")
        .at_least(0)
        .below(1)
        .identity();
  }
};

/// Shape of the images that a model takes.
struct ImageShape {
  int64_t channels = 1;
  int64_t height = 28;
  int64_t width = 28;

  template <class B>
  void bind(B& b) {
    b.key("channels", channels).doc("of an image").at_least(1).identity();
    b.key("height", height).doc("of an image").unit("pixels").at_least(1).identity();
    b.key("width", width).doc("of an image").unit("pixels").at_least(1).identity();
  }
};

/// Blocks of 3x3 convolution, group normalisation, ReLU and 2x2 maximum pooling, then one linear
/// layer.
struct ConvNetSettings {
  ImageShape image;
  std::vector<int64_t> filters = {32, 64};
  int64_t groups = 8;
  int64_t classes = 10;

  template <class B>
  void bind(B& b) {
    image.bind(b);
    b.key("filters", filters)
        .doc("filters of each block, multiples of groups")
        .at_least(1)
        .identity();
    b.key("groups", groups).doc("groups of a normalisation").at_least(1).identity();
    b.key("classes", classes).doc("number of labels").at_least(1).identity();
  }
};

/// Residual network of basic blocks (He et al. 2016) with the 3x3 stem for small images and group
/// normalisation (Wu and He 2018), which has no statistics across samples. Width and number of
/// blocks of the default are those of ResNet-18.
struct ResNetSettings {
  ImageShape image = {3, 32, 32};
  int64_t base_width = 64;
  std::vector<int64_t> blocks = {2, 2, 2, 2};
  int64_t groups = 8;
  int64_t classes = 10;

  template <class B>
  void bind(B& b) {
    image.bind(b);
    b.key("base_width", base_width)
        .doc(
            "filters of the first stage, a multiple of groups; each further stage has twice as "
            "many")
        .at_least(1)
        .identity();
    b.key("blocks", blocks).doc("basic blocks of each stage").at_least(1).identity();
    b.key("groups", groups).doc("groups of a normalisation").at_least(1).identity();
    b.key("classes", classes).doc("number of labels").at_least(1).identity();
  }
};

using Settings = std::variant<Gpt2Settings, MlpSettings, ConvNetSettings, ResNetSettings>;

}  // namespace trireme::model
