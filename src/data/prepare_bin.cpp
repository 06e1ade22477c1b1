#include <trireme/core/error.h>
#include <trireme/data/prepare.h>

#include "data/input_file.h"
#include "data/output_file.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/core.h>

namespace trireme::data {
namespace {

constexpr int64_t header_bytes = 256 * 4;

/// The heads of llm.c's token files (dev/data/data_common.py): magic, version, number of tokens,
/// 253 unused.
struct Kind {
  int32_t magic;
  int32_t version;
  int64_t token_bytes;
  int64_t vocabulary;
};
constexpr std::array<Kind, 2> kinds{{{20240520, 1, 2, 50257}, {20240801, 7, 4, 128256}}};

struct Stream {
  std::string path;
  bool header = false;
  int64_t tokens = 0;
  int64_t token_bytes = 2;
  int64_t vocabulary = 0;  // 0: unknown
};

Stream examine(const std::string& path) {
  InputFile in(path);
  Stream stream{path};
  std::array<int32_t, 3> head{};
  if (in.file_bytes() >= header_bytes) in.read(head.data(), sizeof head);
  const auto kind = std::ranges::find(kinds, head[0], &Kind::magic);
  if (kind == kinds.end()) {
    if (in.file_bytes() % 2 != 0)
      in.damaged(fmt::format("{} bytes are no whole number of uint16 tokens", in.file_bytes()));
    stream.tokens = in.file_bytes() / 2;
    return stream;
  }
  if (head[1] != kind->version)
    in.damaged(fmt::format("llm.c token file {} of version {}, only {} is known", head[0], head[1],
                           kind->version));
  stream.header = true;
  stream.tokens = head[2];
  stream.token_bytes = kind->token_bytes;
  stream.vocabulary = kind->vocabulary;
  const int64_t expected = header_bytes + stream.tokens * stream.token_bytes;
  if (head[2] < 0 || in.file_bytes() != expected)
    in.damaged(fmt::format("the header announces {} tokens, that is {} bytes; the file has {}",
                           head[2], expected, in.file_bytes()));
  return stream;
}

/// Calls `take(bytes, tokens)` for pieces of the tokens of a stream.
template <class Take>
void for_pieces(const Stream& stream, Take take) {
  InputFile in(stream.path);
  std::vector<std::byte> bytes(header_bytes);
  if (stream.header) in.read(bytes.data(), header_bytes);
  constexpr int64_t piece = 1 << 20;
  for (int64_t first = 0; first < stream.tokens; first += piece) {
    const int64_t n = std::min(piece, stream.tokens - first);
    bytes.resize(static_cast<size_t>(n * stream.token_bytes));
    in.read(bytes.data(), n * stream.token_bytes);
    take(bytes.data(), n);
  }
}

int64_t largest_token(const std::byte* bytes, int64_t count, int64_t token_bytes) {
  std::vector<int64_t> tokens(static_cast<size_t>(count));
  convert(token_bytes == 2 ? Element::u16 : Element::u32, bytes, count, at::kLong,
          reinterpret_cast<std::byte*>(tokens.data()));
  return tokens.empty() ? -1 : *std::ranges::max_element(tokens);
}

}  // namespace

Prepared prepare_bin(const BinOptions& bin, const PrepareOptions& options) {
  check_options(options);
  if (bin.inputs.empty())
    throw Error(ErrorKind::usage, "no token file is given", "name .bin files");
  std::vector<Stream> streams;
  int64_t tokens = 0;
  int64_t vocabulary = bin.vocab_size.value_or(0);
  for (const std::string& input : bin.inputs) {
    streams.push_back(examine(input));
    tokens += streams.back().tokens;
    if (!bin.vocab_size) vocabulary = std::max(vocabulary, streams.back().vocabulary);
    if (streams.back().token_bytes != streams.front().token_bytes)
      throw Error(
          ErrorKind::data_damaged,
          fmt::format("{} has tokens of {} bytes, {} of {}", input, streams.back().token_bytes,
                      streams.front().path, streams.front().token_bytes),
          "prepare them into separate files");
  }
  if (tokens == 0)
    throw Error(ErrorKind::data_damaged, fmt::format("{}: there are no tokens", bin.inputs[0]),
                "give tokens");
  const int64_t token_bytes = streams.front().token_bytes;
  OutputFile out(options.output, options.force);
  const size_t dataset =
      out.writer().create("tokens", token_bytes == 2 ? Element::u16 : Element::u32, {tokens},
                          static_cast<int>(options.compress));
  int64_t done = 0;
  int64_t largest = -1;
  for (const Stream& stream : streams)
    for_pieces(stream, [&](const std::byte* bytes, int64_t count) {
      const int64_t worst = largest_token(bytes, count, token_bytes);
      if (vocabulary > 0 && worst >= vocabulary)
        throw Error(ErrorKind::data_damaged,
                    fmt::format("{}: token {} is outside of the vocabulary of {}", stream.path,
                                worst, vocabulary),
                    "check the file, or give its vocabulary with --vocab-size");
      largest = std::max(largest, worst);
      out.writer().append(dataset, bytes, count);
      done += count;
      if (options.progress) options.progress(done * token_bytes, tokens * token_bytes);
    });
  out.writer().attribute(dataset, {"vocab_size", vocabulary > 0 ? vocabulary : largest + 1});
  return {options.output, 0, tokens, 0, out.commit()};
}

}  // namespace trireme::data
