#include "report/trace_reader.h"

#include <trireme/core/error.h>

#include <charconv>
#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>
#include <zlib.h>

namespace trireme::report {
namespace {

constexpr size_t piece_bytes = 256 << 10;
/// Texts are cut when they are written; even of escaped ones no event has so much.
constexpr size_t longest_line = 1 << 20;
constexpr std::string_view events_begin = "\"traceEvents\":[";
constexpr std::string_view events_end = "]}";

/// Takes `text` from the front of `from`.
bool take(std::string_view& from, std::string_view text) {
  if (from.substr(0, text.size()) != text) return false;
  from.remove_prefix(text.size());
  return true;
}

bool take_number(std::string_view& from, int64_t& value) {
  const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), value);
  if (error != std::errc()) return false;
  from.remove_prefix(static_cast<size_t>(end - from.data()));
  return true;
}

}  // namespace

struct TraceReader::File {
  explicit File(gzFile opened) : gz(opened) {}
  ~File() { gzclose_r(gz); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  gzFile gz;
};

TraceReader::TraceReader(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  const bool readable =
      std::filesystem::is_regular_file(path_, error) && std::ifstream(path_).good();
  const gzFile opened = readable ? gzopen(path_.c_str(), "rb") : nullptr;
  if (opened == nullptr)
    throw Error(ErrorKind::input_missing, "there is no trace " + path_.string() + " to read",
                "a run writes one with telemetry.trace, or with `trireme debug RUN enable "
                "autograd_profiler`");
  file_ = std::make_unique<File>(opened);
  gzbuffer(opened, piece_bytes);
  read_heading();
}

TraceReader::~TraceReader() = default;

void TraceReader::damaged(std::string_view what) const {
  std::string where = path_.string();
  if (line_number_ > 0) where += ", line " + std::to_string(line_number_);
  throw Error(ErrorKind::data_damaged, where + ": " + std::string(what),
              "only whole traces that trireme wrote can be taken apart");
}

bool TraceReader::fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  const size_t had = buffer_.size();
  buffer_.resize(had + piece_bytes);
  const int got = gzread(file_->gz, buffer_.data() + had, piece_bytes);
  buffer_.resize(had + static_cast<size_t>(got > 0 ? got : 0));
  int error = Z_OK;
  const char* reason = gzerror(file_->gz, &error);
  if (got < 0 || (error != Z_OK && error != Z_STREAM_END))
    damaged(error == Z_BUF_ERROR ? "the file was cut short" : reason);
  return got > 0;
}

bool TraceReader::next_line(std::string_view& line) {
  size_t searched = at_;
  while (true) {
    const size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      line = std::string_view(buffer_).substr(at_, end - at_);
      at_ = end + 1;
      ++line_number_;
      return true;
    }
    if (buffer_.size() - at_ > longest_line) damaged("the line is too long");
    searched = buffer_.size() - at_;
    if (!fill()) return false;
  }
}

void TraceReader::read_heading() {
  std::string text;
  std::string_view line;
  while (next_line(line)) {
    if (line == events_begin) {
      heading_ = std::make_unique<nlohmann::json>(
          nlohmann::json::parse(text + "\"\":0}", nullptr, /*allow_exceptions=*/false));
      if (!heading_->is_object() || !heading_->contains("trireme")) break;
      return;
    }
    text += line;
    if (text.size() > size_t{64} << 20) break;
  }
  damaged("this is no trace of trireme");
}

bool TraceReader::next(Event& event) {
  std::string_view line;
  if (!next_line(line)) damaged("the file ends before its end");
  if (line == events_end) {
    if (next_line(line)) damaged("something follows the end");
    return false;
  }
  if (!line.empty() && line.back() == ',') line.remove_suffix(1);
  event.line = line;
  event.category = {};
  int64_t thread = 0;
  const bool whole = line.size() > 2 && line.back() == '}' && take(line, "{\"pid\":") &&
                     take_number(line, event.rank) && take(line, ",\"tid\":") &&
                     take_number(line, thread) && take(line, ",\"ph\":\"") && line.size() > 2 &&
                     line[1] == '"';
  if (!whole) damaged("this is no event");
  event.phase = line[0];
  line.remove_prefix(2);
  if (take(line, ",\"cat\":\"")) event.category = line.substr(0, line.find('"'));
  return true;
}

}  // namespace trireme::report
