#include "report/tensorboard_file.h"

#include <trireme/storage/durable.h>

#include "storage/system_calls.h"
#include "storage/write_error.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace trireme::report {
namespace {

constexpr std::string_view name_prefix = "events.out.tfevents.";
constexpr long long ten_digits = 9'999'999'999;  // seconds that sort as names do

}  // namespace

std::string event_file_name(const std::filesystem::path& folder, long long seconds) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().native();
    if (!name.starts_with(name_prefix)) continue;
    long long other = 0;
    std::from_chars(name.data() + name_prefix.size(), name.data() + name.size(), other);
    if (other < ten_digits) seconds = std::max(seconds, other + 1);
  }
  std::array<char, 256> host{};
  (void)::gethostname(host.data(), host.size() - 1);
  return fmt::format("{}{:010}.{}.{}.0", name_prefix, seconds, host.data(), ::getpid());
}

TensorBoard::File::File(std::filesystem::path folder, std::string first)
    : folder_(std::move(folder)), first_(std::move(first)) {}

TensorBoard::File::~File() {
  if (fd_ >= 0) (void)storage::close_file(fd_);
}

void TensorBoard::File::open() {
  storage::make_directories(folder_);
  path_ = folder_ / event_file_name(folder_, static_cast<long long>(std::time(nullptr)));
  const int fd = storage::create_file(path_.c_str());
  if (fd < 0) storage::throw_write_error(path_, "cannot be made", -fd);
  fd_ = fd;
}

void TensorBoard::File::append(std::string_view records) {
  if (fd_ < 0) open();
  if (torn_) {
    if (::ftruncate(fd_, whole_) != 0 || ::lseek(fd_, whole_, SEEK_SET) < 0)
      storage::throw_write_error(path_, "cannot be cut to whole records", errno);
    torn_ = false;
  }
  if (!first_.empty()) {
    write(first_);
    first_.clear();
  }
  write(records);
}

void TensorBoard::File::write(std::string_view bytes) {
  torn_ = true;
  const storage::WriteResult result = storage::write_all(fd_, bytes.data(), bytes.size());
  if (result.error != 0)
    storage::throw_write_error(path_, "write", result.error, static_cast<int64_t>(bytes.size()));
  torn_ = false;
  whole_ += static_cast<off_t>(bytes.size());
}

}  // namespace trireme::report
