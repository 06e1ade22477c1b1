#include "data/output_file.h"

#include <trireme/core/error.h>
#include <trireme/storage/durable.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::data {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void failed(const std::string& path, const std::string& what,
                         const std::string& hint) {
  throw Error(ErrorKind::storage, fmt::format("{}: {}", path, what), hint);
}

[[noreturn]] void exists(const std::string& path) {
  failed(path, "the file exists", "choose another name, or replace it with --force");
}

void sync_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  int error = fd >= 0 && ::fsync(fd) == 0 ? 0 : errno;
  if (fd >= 0 && ::close(fd) != 0 && error == 0) error = errno;
  if (error != 0)
    failed(path, fmt::format("fsync: {}", std::strerror(error)),
           "check free space and the file system");
}

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

void rename_file(const std::string& from, const std::string& to, bool replace) {
  int status = replace
                   ? ::rename(from.c_str(), to.c_str())
                   : ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  // Some network file systems do not know the flag.
  if (status != 0 && !replace && (errno == EINVAL || errno == ENOSYS)) {
    if (::access(to.c_str(), F_OK) == 0) exists(to);
    status = ::rename(from.c_str(), to.c_str());
  }
  if (status == 0) return;
  if (errno == EEXIST) exists(to);
  failed(to, fmt::format("rename: {}", std::strerror(errno)), "check permissions of the folder");
}

}  // namespace

OutputFile::OutputFile(const std::string& path, bool force)
    : path_(path), temporary_(fmt::format("{}.tmp-{}", path, ::getpid())), force_(force) {
  std::error_code error;
  storage::make_directories(folder_of(path));
  if (!force && fs::exists(path, error)) exists(path);
  if (fs::is_directory(path, error)) failed(path, "is a folder", "name a file, e.g. data.h5");
  writer_ = std::make_unique<Hdf5Writer>(temporary_);
}

OutputFile::~OutputFile() {
  writer_.reset();
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

int64_t OutputFile::commit() {
  writer_->finish();
  writer_.reset();
  sync_file(temporary_);
  struct stat status {};
  ::stat(temporary_.c_str(), &status);
  rename_file(temporary_, path_, force_);
  temporary_.clear();
  storage::sync_directory(folder_of(path_));
  return status.st_size;
}

void write_tokens(OutputFile& out, const TokenFile& file, const PrepareOptions& options) {
  const bool narrow = file.vocabulary <= 65536;
  const auto count = static_cast<int64_t>(file.tokens.size());
  Hdf5Writer& writer = out.writer();
  const size_t tokens = writer.create("tokens", narrow ? Element::u16 : Element::u32, {count},
                                      static_cast<int>(options.compress));
  writer.attribute(tokens, {"vocab_size", file.vocabulary});
  if (!file.tokenizer.empty()) writer.attribute(tokens, {"tokenizer", file.tokenizer});
  constexpr int64_t piece = 1 << 20;
  std::vector<uint16_t> small;
  for (int64_t first = 0; first < count; first += piece) {
    const int64_t n = std::min(piece, count - first);
    const uint32_t* from = file.tokens.data() + first;
    if (narrow) {
      small.resize(static_cast<size_t>(n));
      std::transform(from, from + n, small.begin(),
                     [](uint32_t t) { return static_cast<uint16_t>(t); });
      writer.append(tokens, small.data(), n);
    } else {
      writer.append(tokens, from, n);
    }
  }
  if (file.documents.size() < 2) return;
  const auto documents = static_cast<int64_t>(file.documents.size());
  writer.append(writer.create("documents", Element::i64, {documents}), file.documents.data(),
                documents);
}

void check_options(const PrepareOptions& options) {
  if (options.output.empty())
    throw Error(ErrorKind::usage, "no output file is named", "give one with -o FILE.h5");
  if (options.compress < 0 || options.compress > 9)
    throw Error(ErrorKind::usage, fmt::format("compression {} is not in 0 to 9", options.compress),
                "0 stores contiguously, which reads fastest");
}

}  // namespace trireme::data
