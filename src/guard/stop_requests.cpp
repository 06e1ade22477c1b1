#include <trireme/core/error.h>
#include <trireme/guard/stop_requests.h>

#include <atomic>
#include <system_error>

#include <unistd.h>

namespace trireme::guard {
namespace {

// Signal dispositions belong to the process, and so do these.
std::atomic<int> first_signal{0};
std::atomic<bool> interrupted{false};
std::atomic<bool> installed{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

extern "C" void note_signal(int number) {
  if (number == SIGINT && interrupted.exchange(true)) {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    sigaction(SIGINT, &plain, nullptr);
    raise(SIGINT);  // delivered when this handler returns
  }
  int none = 0;
  first_signal.compare_exchange_strong(none, number);
}

bool take(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::remove(file, ignored);
}

}  // namespace

StopSignals::StopSignals() {
  check(!installed.exchange(true), "a process has one StopSignals at a time");
  first_signal = 0;
  interrupted = false;
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;  // reads and writes under way go on
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < caught_.size(); ++i) {
    sigaction(caught_[i], nullptr, &before_[i]);
    const bool nohup = caught_[i] == SIGHUP && before_[i].sa_handler == SIG_IGN;
    if (!nohup) sigaction(caught_[i], &action, nullptr);
  }
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &pipe_before_);
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < caught_.size(); ++i) sigaction(caught_[i], &before_[i], nullptr);
  sigaction(SIGPIPE, &pipe_before_, nullptr);
  installed = false;
}

int StopSignals::received() const {
  return first_signal;
}

Requests take_control_files(const std::filesystem::path& control) {
  Requests requests;
  requests.stop = take(control / "stop");
  requests.save = take(control / "save");
  return requests;
}

}  // namespace trireme::guard
