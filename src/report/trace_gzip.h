#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::report {

// A gzip file of one member whose parts are compressed by different ranks at the same time: parts
// are raw deflate blocks that end at a byte and know nothing of what came before (RFC 1951, 1952).

/// What stands before the first part.
[[nodiscard]] std::string gzip_header();

/// Of the parts so far, in their order.
class GzipSum {
 public:
  void add(uint32_t crc, int64_t bytes);
  [[nodiscard]] int64_t bytes() const { return bytes_; }
  /// What stands behind the last part.
  [[nodiscard]] std::string trailer() const;

 private:
  uint32_t crc_ = 0;
  int64_t bytes_ = 0;
};

/// One part: text goes in, chunks of compressed bytes come out.
class GzipPart {
 public:
  static constexpr size_t chunk_bytes = 2 << 20;

  GzipPart();
  ~GzipPart();
  GzipPart(const GzipPart&) = delete;
  GzipPart& operator=(const GzipPart&) = delete;

  /// Text that is to come next is appended here; line_ended() takes it from time to time.
  [[nodiscard]] std::string& text() { return text_; }
  void line_ended() {
    if (text_.size() >= block_bytes) take();
  }
  /// No text may follow.
  void finish();

  using Chunk = std::shared_ptr<std::string>;
  /// Whole chunks so far; after finish() all. The caller may move them out.
  [[nodiscard]] std::vector<Chunk>& chunks() { return chunks_; }
  [[nodiscard]] uint32_t crc() const { return crc_; }
  [[nodiscard]] int64_t text_bytes() const { return text_bytes_; }

 private:
  static constexpr size_t block_bytes = 64 << 10;
  struct Stream;
  void take();
  void compress(int flush);

  std::unique_ptr<Stream> stream_;
  std::string text_;
  std::shared_ptr<std::string> open_;
  std::vector<Chunk> chunks_;
  uint32_t crc_ = 0;
  int64_t text_bytes_ = 0;
};

}  // namespace trireme::report
