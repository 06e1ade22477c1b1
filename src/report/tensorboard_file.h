#pragma once

#include <trireme/report/tensorboard.h>

#include <filesystem>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace trireme::report {

/// A new event file, made at the first write. Its name is later than those in the folder, since
/// TensorBoard reads them in the order of their names.
class TensorBoard::File {
 public:
  /// `first`: the records that the file begins with.
  File(std::filesystem::path folder, std::string first);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// All of them or, if it throws (kind `storage`), none.
  void append(std::string_view records);

 private:
  void open();
  void write(std::string_view bytes);

  std::filesystem::path folder_, path_;
  std::string first_;
  int fd_ = -1;
  off_t whole_ = 0;    // where the last whole record ends
  bool torn_ = false;  // a failed write may have left something behind it
};

/// events.out.tfevents.<secs>.<host>.<pid>.0, with the time `seconds` or, if the folder has a later
/// one, the second after that.
[[nodiscard]] std::string event_file_name(const std::filesystem::path& folder, long long seconds);

}  // namespace trireme::report
