#include <trireme/core/error.h>
#include <trireme/data/transforms.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <ATen/ops/empty_ops.h>

#include <fmt/format.h>

namespace trireme::data {
namespace {

struct ImageShape {
  int64_t samples, channels, height, width;
  [[nodiscard]] int64_t plane() const { return height * width; }
};

at::Tensor& image_of(core::Batch& batch) {
  for (auto& field : batch.fields)
    if (field.name == "image") return field.values;
  throw Error(ErrorKind::configuration, "data.transforms is set, but the data has no field `image`",
              "remove data.transforms, or make the file with a dataset `image`");
}

ImageShape shape_of(const at::Tensor& image) {
  if (image.dim() != 4)
    throw Error(
        ErrorKind::configuration,
        fmt::format("data.transforms needs images of [C, H, W], a sample's has {} dimensions",
                    image.dim() - 1),
        "store `image` as [N, C, H, W]");
  if (image.scalar_type() != at::kByte && image.scalar_type() != at::kFloat)
    throw Error(ErrorKind::configuration,
                fmt::format("data.transforms needs images of uint8 or float32, not {}",
                            c10::toString(image.scalar_type())),
                "store `image` as uint8 or float32");
  return {image.size(0), image.size(1), image.size(2), image.size(3)};
}

at::Tensor like(const ImageShape& s, at::ScalarType type) {
  const std::vector<int64_t> shape{s.samples, s.channels, s.height, s.width};
  return at::_ops::empty_memory_format::call(c10::fromIntArrayRefSlow(shape), type, std::nullopt,
                                             std::nullopt, std::nullopt, std::nullopt);
}

class Normalize final : public Transform {
 public:
  Normalize(std::vector<double> mean, std::vector<double> deviation)
      : mean_(std::move(mean)), deviation_(std::move(deviation)) {}
  [[nodiscard]] bool random() const override { return false; }

  void apply(core::Batch& batch, const std::vector<core::RandomKey>&) const override {
    at::Tensor& image = image_of(batch);
    const ImageShape s = shape_of(image);
    for (const auto* list : {&mean_, &deviation_})
      if (list->size() != 1 && static_cast<int64_t>(list->size()) != s.channels)
        throw Error(ErrorKind::configuration,
                    fmt::format("data.transforms: normalize has {} values for {} channels",
                                list->size(), s.channels),
                    "give one value, or one a channel");
    at::Tensor out = like(s, at::kFloat);
    const bool bytes = image.scalar_type() == at::kByte;
    auto* to = static_cast<float*>(out.data_ptr());
    for (int64_t i = 0; i < s.samples * s.channels; ++i) {
      const auto channel = static_cast<size_t>(i % s.channels);
      const auto mean = static_cast<float>(mean_[mean_.size() == 1 ? 0 : channel]);
      const auto scale =
          1.0F / static_cast<float>(deviation_[deviation_.size() == 1 ? 0 : channel]);
      const int64_t start = i * s.plane();
      if (bytes)
        fill(static_cast<const uint8_t*>(image.data_ptr()) + start, s.plane(), 1.0F / 255.0F, mean,
             scale, to + start);
      else
        fill(static_cast<const float*>(image.data_ptr()) + start, s.plane(), 1.0F, mean, scale,
             to + start);
    }
    image = out;
  }

 private:
  template <class T>
  static void fill(const T* from, int64_t count, float unit, float mean, float scale, float* to) {
    for (int64_t i = 0; i < count; ++i) to[i] = (static_cast<float>(from[i]) * unit - mean) * scale;
  }
  std::vector<double> mean_;
  std::vector<double> deviation_;
};

/// The image padded with zeros on all sides and cut back to its size at a random place: a shift.
class RandomCrop final : public Transform {
 public:
  explicit RandomCrop(int64_t padding) : padding_(padding) {}
  [[nodiscard]] bool random() const override { return true; }

  void apply(core::Batch& batch, const std::vector<core::RandomKey>& keys) const override {
    at::Tensor& image = image_of(batch);
    const ImageShape s = shape_of(image);
    at::Tensor out = like(s, image.scalar_type());
    const auto width = static_cast<int64_t>(c10::elementSize(image.scalar_type()));
    const auto* from = static_cast<const std::byte*>(image.data_ptr());
    auto* to = static_cast<std::byte*>(out.data_ptr());
    std::fill_n(to, s.samples * s.channels * s.plane() * width, std::byte{0});
    const auto places = static_cast<uint64_t>(2 * padding_ + 1);
    for (int64_t n = 0; n < s.samples; ++n) {
      const core::RandomKey& key = keys[static_cast<size_t>(n)];
      const int64_t down = static_cast<int64_t>(key.below(places, 0)) - padding_;
      const int64_t right = static_cast<int64_t>(key.below(places, 1)) - padding_;
      const int64_t first =
          std::max<int64_t>(0, -right);  // columns of the result that have a source
      const int64_t columns = s.width - std::abs(right);
      if (columns <= 0) continue;
      for (int64_t row = 0; row < s.channels * s.height; ++row) {
        const int64_t y = row % s.height + down;
        if (y < 0 || y >= s.height) continue;
        const int64_t line = n * s.channels * s.plane() + (row / s.height) * s.plane();
        std::memcpy(to + (line + row % s.height * s.width + first) * width,
                    from + (line + y * s.width + first + right) * width,
                    static_cast<size_t>(columns * width));
      }
    }
    image = out;
  }

 private:
  int64_t padding_;
};

class Flip final : public Transform {
 public:
  [[nodiscard]] bool random() const override { return true; }

  void apply(core::Batch& batch, const std::vector<core::RandomKey>& keys) const override {
    const at::Tensor& image = image_of(batch);
    const ImageShape s = shape_of(image);
    for (int64_t n = 0; n < s.samples; ++n) {
      if ((keys[static_cast<size_t>(n)].bits(0) >> 63) == 0) continue;
      if (image.scalar_type() == at::kByte)
        mirror(static_cast<uint8_t*>(image.data_ptr()), s, n);
      else
        mirror(static_cast<float*>(image.data_ptr()), s, n);
    }
  }

 private:
  template <class T>
  static void mirror(T* data, const ImageShape& s, int64_t sample) {
    T* row = data + sample * s.channels * s.plane();
    for (int64_t i = 0; i < s.channels * s.height; ++i, row += s.width)
      std::reverse(row, row + s.width);
  }
};

[[noreturn]] void refuse(const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::configuration, "data.transforms: " + what, hint);
}

std::shared_ptr<const Transform> make(const TransformConfig& config) {
  const bool statistics = !config.mean.empty() || !config.std.empty();
  if (config.name != "normalize" && statistics)
    refuse(fmt::format("`mean` and `std` do not belong to {}", config.name), "remove them");
  if (config.name != "random_crop" && config.padding != 0)
    refuse(fmt::format("`padding` does not belong to {}", config.name), "remove it");
  if (config.name == "normalize") {
    if (config.mean.empty() || config.std.empty())
      refuse("normalize needs `mean` and `std`",
             "e.g. {name: normalize, mean: [0.286], std: [0.353]}");
    for (const double deviation : config.std)
      if (!(deviation > 0)) refuse(fmt::format("`std` has a {}", deviation), "use values above 0");
    return std::make_shared<Normalize>(config.mean, config.std);
  }
  if (config.name == "random_crop") {
    if (config.padding <= 0)
      refuse("random_crop needs `padding`", "e.g. {name: random_crop, padding: 4}");
    return std::make_shared<RandomCrop>(config.padding);
  }
  if (config.name != "flip")
    refuse(fmt::format("there is no `{}`", config.name), "use normalize, random_crop or flip");
  return std::make_shared<Flip>();
}

}  // namespace

Transform::~Transform() = default;

TransformChain::TransformChain(const std::vector<TransformConfig>& config, bool training) {
  for (const TransformConfig& item : config) {
    auto transform = make(item);
    if (training || !transform->random()) transforms_.push_back(std::move(transform));
  }
}

void TransformChain::apply(core::Batch& batch, uint64_t seed, int64_t epoch) const {
  const core::RandomKey base =
      core::RandomKey(seed).fold("transform").fold(static_cast<uint64_t>(epoch));
  std::vector<core::RandomKey> keys(batch.samples.size());
  for (size_t i = 0; i < transforms_.size(); ++i) {
    for (size_t n = 0; n < keys.size(); ++n)
      keys[n] = base.fold(static_cast<uint64_t>(batch.samples[n])).fold(i);
    transforms_[i]->apply(batch, keys);
  }
}

}  // namespace trireme::data
