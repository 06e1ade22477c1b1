#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/guard/run_lock.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::guard {
namespace {

using Path = std::filesystem::path;

class File {
 public:
  File(const Path& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

Error write_failed(const Path& file, int code) {
  return Error(ErrorKind::storage,
               fmt::format("{}: cannot be written: {}", file.string(), std::strerror(code)),
               "check permissions and free space of run.dir");
}

void write_text(const File& file, const Path& path, std::string_view text) {
  if (write(file.fd(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw write_failed(path, errno);
}

std::string read_text(int fd) {
  std::array<char, 4096> text{};
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  return {text.data(), static_cast<size_t>(got > 0 ? got : 0)};
}

bool same_holder(const LockOwner& a, const LockOwner& b) {
  return a.host == b.host && a.pid == b.pid && a.start == b.start && a.pid_scope == b.pid_scope;
}

/// Readers see the old text or the new one. Not made durable: after a power failure the lock is
/// stale anyway.
void put_in_place(const Path& file, const LockOwner& self) {
  const Path fresh = fmt::format("{}.{}.{}", file.string(), self.host, self.pid);
  {
    const File out(fresh, O_WRONLY | O_CREAT | O_TRUNC);
    if (!out.is_open()) throw write_failed(fresh, errno);
    write_text(out, fresh, lock_text(self));
  }
  if (rename(fresh.c_str(), file.c_str()) != 0) {
    const int code = errno;
    unlink(fresh.c_str());
    throw write_failed(file, code);
  }
}

bool create(const Path& file, const LockOwner& self) {
  const File out(file, O_WRONLY | O_CREAT | O_EXCL);
  if (!out.is_open()) {
    if (errno == EEXIST) return false;
    throw write_failed(file, errno);
  }
  try {
    write_text(out, file, lock_text(self));
  } catch (...) {
    unlink(file.c_str());
    throw;
  }
  return true;
}

/// What processes left that were killed while they put a lock in place. Only who holds it calls: a
/// holder that lost it may be about to do the same, which then fails, as it should.
void remove_unfinished(const Path& file) {
  const std::string prefix = file.filename().string() + ".";
  std::vector<Path> stale;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(file.parent_path(), error), end;
       !error && entry != end; entry.increment(error))
    if (entry->path().filename().string().starts_with(prefix)) stale.push_back(entry->path());
  for (const Path& one : stale) unlink(one.c_str());
}

Error refused(const Path& file, const std::optional<LockOwner>& owner, std::string_view why) {
  const std::string folder = file.parent_path().string();
  const std::string holder =
      owner ? fmt::format("{}process {} on host {}",
                          owner->job.empty() ? "" : fmt::format("job {}, ", owner->job), owner->pid,
                          owner->host)
            : "a process that has not yet said its name";
  return Error(ErrorKind::environment,
               fmt::format("run folder {} is in use by {}: {}", folder, holder, why),
               fmt::format("wait for it, stop it (touch {}/control/stop) or choose another "
                           "run.dir; remove {} only if it is "
                           "certain that it no longer runs",
                           folder, file.string()));
}

/// True if the stale lock became ours; false if the file is another one by now, so that the caller
/// looks again.
bool take_over(const Path& file, const LockOwner& self) {
  const File lock(file, O_RDWR);
  if (!lock.is_open()) {
    if (errno == ENOENT) return false;
    throw write_failed(file, errno);
  }
  // Of several that find the same stale lock one at a time goes on, and the next then sees that the
  // file was replaced. A file system without flock leaves a gap of some microseconds here.
  static_cast<void>(flock(lock.fd(), LOCK_EX));
  struct stat opened {
  }, named{};
  if (fstat(lock.fd(), &opened) != 0 || stat(file.c_str(), &named) != 0 ||
      opened.st_ino != named.st_ino || opened.st_dev != named.st_dev)
    return false;

  const std::string text = read_text(lock.fd());
  const std::optional<LockOwner> owner = parse_lock(text);
  if (!owner) {
    // Just created and not yet written, or damaged: its age tells.
    const double age = self.heartbeat - static_cast<double>(named.st_mtime);
    if (age < fresh_heartbeat_seconds && text.empty()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      return false;
    }
    if (age < fresh_heartbeat_seconds)
      throw refused(file, owner, fmt::format("the lock is {:.0f} s old", age));
    log::warning("{}: took over an unreadable lock that was {:.0f} s old", file.string(), age);
  } else {
    const LockVerdict verdict = judge_lock(*owner, self, process_start(owner->pid));
    if (verdict.live) throw refused(file, owner, verdict.why);
    log::warning("{}: took over the stale lock of process {} on host {}{}: {}", file.string(),
                 owner->pid, owner->host,
                 owner->job.empty() ? "" : fmt::format(" (job {})", owner->job), verdict.why);
  }
  put_in_place(file, self);
  return true;
}

}  // namespace

RunLock::RunLock(const Path& run_dir, std::chrono::seconds beat_every)
    : file_(run_dir / "run.lock"), self_(this_process()) {
  constexpr int attempts =
      100;  // each failed one means that another process changed the file in between
  int attempt = 0;
  while (!create(file_, self_) && !take_over(file_, self_))
    if (++attempt == attempts)
      throw refused(file_, see_lock(file_).owner, "its lock stays empty or keeps changing");
  remove_unfinished(file_);
  thread_ = std::thread([this, beat_every] { beat_until_stopped(beat_every); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  const auto owner = see_lock(file_).owner;
  if (owner && same_holder(*owner, self_)) unlink(file_.c_str());
}

void RunLock::beat() {
  const std::lock_guard lock(writing_);
  if (lost_) return;
  const auto owner = see_lock(file_).owner;
  if (owner && !same_holder(*owner, self_)) {
    lost_ = true;
    log::error(
        "{}: the lock was taken by process {} on host {}; this process must not write there any "
        "more",
        file_.string(), owner->pid, owner->host);
    return;
  }
  try {
    self_.heartbeat = this_process().heartbeat;
    put_in_place(file_, self_);
    warned_ = false;
  } catch (const Error& error) {
    if (!warned_) log::warning("no heartbeat: {}", error.message());
    warned_ = true;
  }
}

void RunLock::beat_until_stopped(std::chrono::seconds every) {
  std::unique_lock lock(guard_);
  while (!wake_.wait_for(lock, every, [this] { return stopping_; })) {
    lock.unlock();
    beat();
    lock.lock();
  }
}

}  // namespace trireme::guard
