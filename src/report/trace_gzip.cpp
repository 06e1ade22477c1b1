#include "report/trace_gzip.h"

#include <trireme/core/error.h>

#include <utility>

#include <zlib.h>

namespace trireme::report {
namespace {

constexpr int raw_deflate = -15;  // the whole window, no header
constexpr int memory_level = 8;   // zlib's default

void append_little_endian(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 255);
}

}  // namespace

std::string gzip_header() {
  return {"\x1f\x8b\x08\0\0\0\0\0\0\x03", 10};  // deflate, no name, no time, Unix
}

void GzipSum::add(uint32_t crc, int64_t bytes) {
  crc_ = static_cast<uint32_t>(crc32_combine(crc_, crc, static_cast<z_off_t>(bytes)));
  bytes_ += bytes;
}

std::string GzipSum::trailer() const {
  std::string text("\x03\0", 2);  // an empty last block
  append_little_endian(text, crc_);
  append_little_endian(text, static_cast<uint32_t>(bytes_));
  return text;
}

struct GzipPart::Stream {
  z_stream z{};
};

GzipPart::GzipPart() : stream_(std::make_unique<Stream>()) {
  // Traces repeat themselves: the quickest level makes them a tenth already.
  const int result = deflateInit2(&stream_->z, Z_BEST_SPEED, Z_DEFLATED, raw_deflate, memory_level,
                                  Z_DEFAULT_STRATEGY);
  if (result != Z_OK) throw Error(ErrorKind::out_of_memory, "no memory to compress a trace");
  text_.reserve(2 * block_bytes);
}
GzipPart::~GzipPart() {
  deflateEnd(&stream_->z);
}

void GzipPart::take() {
  const auto* bytes = reinterpret_cast<const Bytef*>(text_.data());
  crc_ = static_cast<uint32_t>(crc32_z(crc_, bytes, text_.size()));
  text_bytes_ += static_cast<int64_t>(text_.size());
  stream_->z.next_in = const_cast<Bytef*>(bytes);
  stream_->z.avail_in = static_cast<uInt>(text_.size());
  compress(Z_NO_FLUSH);
  text_.clear();
}

void GzipPart::compress(int flush) {
  z_stream& z = stream_->z;
  do {
    if (open_ == nullptr) {
      open_ = std::make_shared<std::string>(chunk_bytes, '\0');
      z.next_out = reinterpret_cast<Bytef*>(open_->data());
      z.avail_out = chunk_bytes;
    }
    check(deflate(&z, flush) != Z_STREAM_ERROR, "zlib takes what it is given");
    if (z.avail_out == 0) {
      chunks_.push_back(std::move(open_));
      continue;  // there may be more
    }
    break;
  } while (true);
}

void GzipPart::finish() {
  take();
  compress(Z_SYNC_FLUSH);
  if (open_ == nullptr) return;
  open_->resize(chunk_bytes - stream_->z.avail_out);
  open_->shrink_to_fit();
  if (!open_->empty()) chunks_.push_back(open_);
  open_ = nullptr;
}

}  // namespace trireme::report
