#include <trireme/core/error.h>
#include <trireme/data/prepare.h>

#include "data/input_file.h"
#include "data/output_file.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace trireme::data {
namespace {

uint32_t read_big_endian(InputFile& in) {
  std::array<uint8_t, 4> b{};
  in.read(b.data(), 4);
  return (uint32_t{b[0]} << 24) | (uint32_t{b[1]} << 16) | (uint32_t{b[2]} << 8) | b[3];
}

/// The header: two zeros, the type (8 is uint8), the number of dimensions, then their sizes, all
/// big-endian.
std::vector<int64_t> read_shape(InputFile& in) {
  const uint32_t magic = read_big_endian(in);
  if (magic >> 16 != 0) in.damaged(fmt::format("not an idx file: it starts with {:#010x}", magic));
  if (((magic >> 8) & 0xff) != 8) in.damaged("holds another type than uint8");
  std::vector<int64_t> shape;
  for (uint32_t i = 0; i < (magic & 0xff); ++i) shape.push_back(read_big_endian(in));
  return shape;
}

std::vector<uint8_t> read_labels(const std::string& path) {
  InputFile in(path, InputFile::Format::plain_or_gzip);
  const std::vector<int64_t> shape = read_shape(in);
  if (shape.size() != 1) in.damaged(fmt::format("labels have {} dimensions, not 1", shape.size()));
  std::vector<uint8_t> labels;
  // In pieces, so that a damaged count ends at the end of the file and not in an allocation.
  while (static_cast<int64_t>(labels.size()) < shape[0]) {
    const size_t have = labels.size();
    const int64_t piece = std::min<int64_t>(shape[0] - static_cast<int64_t>(have), 1 << 20);
    labels.resize(have + static_cast<size_t>(piece));
    in.read(labels.data() + have, piece);
  }
  if (!in.at_end())
    in.damaged(fmt::format("has more than the {} labels that it announces", shape[0]));
  return labels;
}

}  // namespace

Prepared prepare_idx(const IdxOptions& idx, const PrepareOptions& options) {
  check_options(options);
  const std::vector<uint8_t> labels = read_labels(idx.labels);
  InputFile images(idx.images, InputFile::Format::plain_or_gzip);
  std::vector<int64_t> shape = read_shape(images);
  if (shape.size() == 3) shape.insert(shape.begin() + 1, 1);
  if (shape.size() != 4)
    images.damaged(fmt::format("images have {} dimensions, not 3 or 4", shape.size()));
  const auto count = static_cast<int64_t>(labels.size());
  if (shape[0] != count)
    images.damaged(fmt::format("has {} images, {} has {} labels", shape[0], idx.labels, count));
  int64_t pixels = 1;
  for (size_t i = 1; i < 4; ++i) {
    if (shape[i] == 0 || shape[i] > 65536)
      images.damaged(fmt::format("images of size {}", shape[i]));
    pixels *= shape[i];
  }
  if (count == 0) images.damaged("has no images");
  if (pixels > (int64_t{1} << 28)) images.damaged(fmt::format("images of {} pixels", pixels));

  OutputFile out(options.output, options.force);
  Hdf5Writer& writer = out.writer();
  const int compress = static_cast<int>(options.compress);
  const size_t image = writer.create("image", Element::u8, shape, compress);
  const size_t label = writer.create("label", Element::u8, {count}, compress);
  writer.attribute(label, {"classes", int64_t{1} + *std::ranges::max_element(labels)});
  writer.append(label, labels.data(), count);
  const int64_t piece = std::max<int64_t>(1, (1 << 22) / pixels);
  std::vector<uint8_t> rows;
  for (int64_t first = 0; first < count; first += piece) {
    const int64_t n = std::min(piece, count - first);
    rows.resize(static_cast<size_t>(n * pixels));
    images.read(rows.data(), n * pixels);
    writer.append(image, rows.data(), n);
    if (options.progress) options.progress((first + n) * pixels, count * pixels);
  }
  if (!images.at_end())
    images.damaged(fmt::format("has more than the {} images that it announces", count));
  return {options.output, count, 0, 0, out.commit()};
}

}  // namespace trireme::data
