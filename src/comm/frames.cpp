#include "comm/frames.h"

#include <nlohmann/json.hpp>

namespace trireme::comm {
namespace {

constexpr std::size_t header_bytes = 5;
constexpr std::size_t longest_text = 16 << 10;
constexpr std::size_t longest_body = 256 << 10;

}  // namespace

std::string encode(FrameKind kind, std::string_view body) {
  std::string frame;
  for (int shift = 0; shift < 32; shift += 8)
    frame += static_cast<char>((body.size() >> shift) & 0xff);
  frame += static_cast<char>(kind);
  return frame.append(body);
}

std::optional<Frame> FrameReader::next() {
  if (buffer_.size() < header_bytes) return std::nullopt;
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i)
    length |= static_cast<std::size_t>(static_cast<unsigned char>(buffer_[i])) << (8 * i);
  const auto kind = static_cast<unsigned char>(buffer_[4]);
  if (length > longest_body || kind < 1 || kind > static_cast<int>(FrameKind::goodbye))
    throw Error(ErrorKind::data_damaged, "side channel: damaged frame");
  if (buffer_.size() < header_bytes + length) return std::nullopt;
  Frame frame{static_cast<FrameKind>(kind), buffer_.substr(header_bytes, length)};
  buffer_.erase(0, header_bytes + length);
  return frame;
}

std::string to_text(const Failure& failure) {
  const nlohmann::json json = {{"kind", static_cast<int>(failure.kind)},
                               {"rank", failure.rank},
                               {"host", failure.host},
                               {"step", failure.step},
                               {"message", failure.message.substr(0, longest_text)},
                               {"hint", failure.hint.substr(0, longest_text)}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Failure failure_from(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  Failure failure;
  if (!json.is_object()) return failure;
  const auto take = [&](const char* name, auto& field) {
    using Field = std::decay_t<decltype(field)>;
    const auto found = json.find(name);
    if (found == json.end()) return;
    if (std::is_same_v<Field, std::string> ? found->is_string() : found->is_number_integer())
      field = found->template get<Field>();
  };
  int kind = static_cast<int>(failure.kind);
  take("kind", kind);
  failure.kind = static_cast<ErrorKind>(kind);
  take("rank", failure.rank);
  take("host", failure.host);
  take("step", failure.step);
  take("message", failure.message);
  take("hint", failure.hint);
  return failure;
}

}  // namespace trireme::comm
