#pragma once

#include <trireme/autograd/unit.h>

#include <string>

namespace trireme::model {

/// Parameters of a convolution without bias followed by group normalisation, in a block that owns
/// them.
struct NormedConvolution {
  at::Tensor weight;  ///< [out, in, k, k]
  at::Tensor scale, shift;
  int64_t stride = 1;
  int64_t groups = 1;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_BCHW) const;
};

/// Of a k x k convolution with padding k / 2.
struct ConvolutionShape {
  int64_t in = 1;
  int64_t out = 1;
  int64_t kernel = 3;
  int64_t stride = 1;
};

/// Multiplications of one such convolution of a picture that is `height` by `width` before it.
[[nodiscard]] double products_of(const ConvolutionShape& shape, int64_t height, int64_t width);

/// A block that consists of such convolutions.
class ConvolutionBlock : public autograd::Block {
 protected:
  ConvolutionBlock(const autograd::BuildContext& context, int64_t groups)
      : Block(context), groups_(groups) {}
  /// Adds the parameters `<convolution>.weight`, `<norm>.weight` and `<norm>.bias`. Weights are
  /// normal with variance 2 / (out k k) (He et al. 2015, for the backward pass), as in
  /// torchvision's ResNet.
  NormedConvolution add(const std::string& convolution, const std::string& norm,
                        const ConvolutionShape& shape);

 private:
  int64_t groups_;
};

/// Throws kind `configuration` if `filters` is no multiple of `groups`; `key` names the filters'
/// key.
void check_groups(const std::string& key, int64_t filters, int64_t groups);

}  // namespace trireme::model
