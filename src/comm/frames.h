#pragma once

#include <trireme/comm/side_channel.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::comm {

/// What ranks tell each other on the side channel.
enum class FrameKind : uint8_t {
  failure = 1,  ///< to rank 0: this happened to me
  verdict,      ///< from rank 0: this is why we end
  lost,         ///< from rank 0: this rank is gone as well
  ready,        ///< to rank 0: I could leave; says whether exit.json was written
  leave,        ///< from rank 0: go
  goodbye,      ///< my end of the connection will close, and that is no failure
};
struct Frame {
  FrameKind kind = FrameKind::failure;
  std::string body;
};

/// A frame on the wire: length of the body (4 bytes, little endian), kind (1 byte), body.
[[nodiscard]] std::string encode(FrameKind kind, std::string_view body = {});

/// Cuts a stream of bytes into frames.
class FrameReader {
 public:
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  /// The next complete frame. Throws, with kind data_damaged, at what cannot be a frame.
  [[nodiscard]] std::optional<Frame> next();

 private:
  std::string buffer_;
};

/// Long texts are shortened; bytes that are no UTF-8 are replaced.
[[nodiscard]] std::string to_text(const Failure& failure);
/// Fields that are missing keep their defaults.
[[nodiscard]] Failure failure_from(const std::string& text);

}  // namespace trireme::comm
