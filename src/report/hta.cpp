#include <trireme/core/error.h>
#include <trireme/report/hta.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/file_writer.h>

#include "report/hta_text.h"
#include "report/trace_gzip.h"
#include "report/trace_reader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

/// Categories that PyTorch's profiler has, too; all others become annotations.
constexpr std::array<std::string_view, 8> shared_categories{
    "cpu_op",     "user_annotation", "cuda_runtime",      "kernel",
    "gpu_memcpy", "gpu_memset",      "cpu_instant_event", "ac2g"};

bool is_shared(std::string_view category) {
  return std::find(shared_categories.begin(), shared_categories.end(), category) !=
         shared_categories.end();
}

/// One rank's file, under a temporary name until take_name().
class RankFile {
 public:
  RankFile(std::filesystem::path path, std::string_view heading)
      : path_(std::move(path)), unfinished_(path_) {
    unfinished_ += ".tmp";
    storage::remove_tree(unfinished_);
    writer_.emplace(unfinished_);
    writer_->write(gzip_header());
    text_.emplace();
    text_->text() += heading;
  }
  ~RankFile() {
    std::error_code error;
    writer_.reset();
    if (finished_) std::filesystem::remove(unfinished_, error);
  }
  RankFile(const RankFile&) = delete;
  RankFile& operator=(const RankFile&) = delete;

  void add(const TraceReader::Event& event) {
    std::string& text = text_->text();
    if (any_) text += ",\n";
    any_ = true;
    if (event.phase == 'X') {
      complete_ = true;
      if (!is_shared(event.category)) {
        const auto before = static_cast<size_t>(event.category.data() - event.line.data());
        text += event.line.substr(0, before);
        text += "user_annotation";
        text += event.line.substr(before + event.category.size());
        return ended();
      }
    }
    text += event.line;
    ended();
  }

  void finish(int64_t rank) {
    if (!complete_) text_->text() += (any_ ? ",\n" : "") + hta_placeholder(rank);
    text_->text() += hta_ending;
    text_->finish();
    flush();
    GzipSum sum;
    sum.add(text_->crc(), text_->text_bytes());
    writer_->write(sum.trailer());
    writer_->finish();
    text_.reset();
    writer_.reset();
    finished_ = true;
  }

  void take_name() {
    std::error_code error;
    std::filesystem::rename(unfinished_, path_, error);
    if (error)
      throw Error(ErrorKind::storage,
                  path_.string() + " cannot be given its name: " + error.message());
    finished_ = false;
  }
  /// Undoes take_name(), if it was called.
  void remove() {
    std::error_code error;
    if (!finished_) std::filesystem::remove(path_, error);
  }

 private:
  void ended() {
    text_->line_ended();
    flush();
  }
  void flush() {
    for (const auto& chunk : text_->chunks()) writer_->write(*chunk);
    text_->chunks().clear();
  }

  std::filesystem::path path_, unfinished_;
  std::optional<storage::FileWriter> writer_;
  std::optional<GzipPart> text_;
  bool any_ = false, complete_ = false;
  bool finished_ = false;  // and still under the temporary name
};

}  // namespace

int write_hta(const std::filesystem::path& trace, const std::filesystem::path& dir) {
  TraceReader reader(trace);
  const auto& info = reader.heading();
  const int64_t ranks =
      info.value("/distributedInfo/world_size"_json_pointer, nlohmann::json(-1)).is_number_integer()
          ? info.at("distributedInfo").at("world_size").get<int64_t>()
          : -1;
  const auto base = info.find("baseTimeNanoseconds");
  if (ranks < 1 || base == info.end() || !base->is_number_integer())
    reader.damaged("the heading lacks the number of ranks or the time");
  const auto base_ns = base->get<int64_t>();

  storage::make_directories(dir);
  std::vector<std::unique_ptr<RankFile>> files;
  TraceReader::Event event;
  int64_t rank = -1;
  while (reader.next(event)) {
    if (event.rank != rank) {
      if (event.rank != rank + 1 || event.rank >= ranks)
        reader.damaged("the ranks do not follow each other");
      if (!files.empty()) files.back()->finish(rank);
      rank = event.rank;
      const auto name = fmt::format("rank{:03}.{}.pt.trace.json.gz", rank, base_ns / 1'000'000);
      files.push_back(std::make_unique<RankFile>(dir / name, hta_heading(rank, ranks, base_ns)));
    }
    // An arrow to another rank leads nowhere here.
    if (event.category != "collective" || event.phase == 'X') files.back()->add(event);
  }
  if (rank + 1 != ranks) reader.damaged("ranks are missing");
  files.back()->finish(rank);
  try {
    for (const auto& file : files) file->take_name();
    storage::sync_directory(dir);
  } catch (...) {
    for (const auto& file : files) file->remove();
    throw;
  }
  return static_cast<int>(files.size());
}

}  // namespace trireme::report
