#include "report/trace_file.h"

#include <trireme/storage/durable.h>

#include <string>
#include <system_error>
#include <utility>

namespace trireme::report {

TraceFile::TraceFile(std::filesystem::path path) : path_(std::move(path)), unfinished_(path_) {
  unfinished_ += ".tmp";
  attempt([&] {
    if (path_.has_parent_path()) storage::make_directories(path_.parent_path());
    storage::remove_tree(unfinished_);  // of a process that died
    writer_.emplace(unfinished_);
    writer_->write(gzip_header());
  });
}

void TraceFile::write(const void* data, size_t bytes) {
  attempt([&] { writer_->write(data, bytes); });
}

void TraceFile::write_text(std::string_view text) {
  attempt([&] {
    GzipPart part;
    part.text() += text;
    part.finish();
    for (const auto& chunk : part.chunks()) writer_->write(*chunk);
    part_ended(part.crc(), part.text_bytes());
  });
}

void TraceFile::finish() {
  attempt([&] {
    writer_->write(sum_.trailer());
    writer_->finish();
    bytes_ = writer_->bytes();
    std::error_code error;
    std::filesystem::rename(unfinished_, path_, error);
    if (error) {
      storage::remove_tree(unfinished_);
      throw Error(ErrorKind::storage,
                  path_.string() + " cannot be given its name: " + error.message());
    }
    storage::sync_directory(path_.has_parent_path() ? path_.parent_path() : ".");
  });
  writer_.reset();  // which removes what is not finished
}

void TraceFile::attempt(const std::function<void()>& act) {
  if (failure_) return;
  try {
    act();
  } catch (const Error& error) {
    failure_ = error;
  } catch (const std::exception& error) {
    failure_ = Error(ErrorKind::storage, path_.string() + ": " + error.what());
  }
}

}  // namespace trireme::report
