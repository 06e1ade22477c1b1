#include "data/isolated.h"

#include <trireme/core/error.h>

#include "data/file_description.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trireme::data {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  [[nodiscard]] int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

bool write_all(int fd, const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t wrote = ::write(fd, next, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    next += wrote;
    size -= static_cast<size_t>(wrote);
  }
  return true;
}

bool read_all(int fd, void* data, size_t size) {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = ::read(fd, next, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    next += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool write_text(int fd, std::string_view text) {
  const uint64_t size = text.size();
  return write_all(fd, &size, sizeof size) && write_all(fd, text.data(), text.size());
}

bool read_text(int fd, std::string& text) {
  uint64_t size = 0;
  if (!read_all(fd, &size, sizeof size) || size > (uint64_t{1} << 32)) return false;
  text.resize(size);
  return read_all(fd, text.data(), size);
}

// The messages: kind 0 and the result, or an Error's kind, message and hint.
struct Message {
  int32_t kind = 0;
  std::string text;
  std::string hint;
};

void limit(int resource, rlim_t value) {
  const rlimit both{value, value};
  ::setrlimit(static_cast<decltype(RLIMIT_CPU)>(resource), &both);
}

rlim_t address_space() {
  long pages = 0;
  const Descriptor statm(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  if (::read(statm.get(), text.data(), text.size() - 1) > 0)
    pages = std::strtol(text.data(), nullptr, 10);
  return static_cast<rlim_t>(pages) * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

void enter_sandbox(const IsolationLimits& limits) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGTERM, SIGINT,
                           SIGUSR1, SIGUSR2, SIGHUP, SIGQUIT})
    ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  limit(RLIMIT_CORE, 0);
  if (limits.cpu_seconds > 0) limit(RLIMIT_CPU, static_cast<rlim_t>(limits.cpu_seconds));
  if (const rlim_t now = address_space(); now > 0)
    limit(RLIMIT_AS, now + static_cast<rlim_t>(limits.extra_memory_bytes));
}

[[noreturn]] void child(int fd, const IsolationLimits& limits,
                        const std::function<std::string()>& work) {
  enter_sandbox(limits);
  Message message;
  try {
    message.text = work();
  } catch (const Error& error) {
    message = {static_cast<int32_t>(error.kind()), error.message(), error.hint()};
  } catch (const std::exception& error) {
    message = {static_cast<int32_t>(ErrorKind::data_damaged), error.what(),
               std::string(remake_hint)};
  }
  const bool sent = write_all(fd, &message.kind, sizeof message.kind) &&
                    write_text(fd, message.text) && write_text(fd, message.hint);
  ::_exit(sent ? 0 : 1);
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status))
    return WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL
               ? "did not come to an end"
               : fmt::format("crashed (signal {})", WTERMSIG(status));
  return "ended early";
}

}  // namespace

std::string run_isolated(const std::string& path, std::mutex& at_rest,
                         const IsolationLimits& limits, const std::function<std::string()>& work) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw Error(ErrorKind::environment, fmt::format("{}: pipe: {}", path, std::strerror(errno)),
                "raise the limit of open files (ulimit -n)");
  Descriptor read_end(ends[0]);
  Descriptor write_end(ends[1]);
  std::unique_lock lock(at_rest);
  const pid_t pid = ::fork();
  const int fork_error = errno;
  lock.unlock();  // in both: the child's only thread is a copy of this one
  if (pid < 0)
    throw Error(ErrorKind::environment,
                fmt::format("{}: cannot start a process to examine the file: {}", path,
                            std::strerror(fork_error)),
                "raise the limits of processes and memory of the job");
  if (pid == 0) child(write_end.get(), limits, work);
  write_end.close();

  Message message;
  const bool complete = read_all(read_end.get(), &message.kind, sizeof message.kind) &&
                        read_text(read_end.get(), message.text) &&
                        read_text(read_end.get(), message.hint);
  read_end.close();
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!complete)
    throw Error(ErrorKind::data_damaged,
                fmt::format("{}: damaged: reading its structure {}", path, how_it_ended(status)),
                std::string(remake_hint));
  if (message.kind != 0)
    throw Error(static_cast<ErrorKind>(message.kind), message.text, message.hint);
  return std::move(message.text);
}

}  // namespace trireme::data
