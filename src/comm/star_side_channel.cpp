#include "comm/star_side_channel.h"

#include <trireme/core/log.h>

#include "comm/frames.h"
#include "comm/roll.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace trireme::comm {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// How long rank 0 holds those who could leave for those who have not said so (they may be stuck).
constexpr auto leave_grace = 500ms;

std::chrono::nanoseconds duration_of(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(std::clamp(seconds, 0.0, 1e6) * 1e9));
}

struct Link {
  int peer = 0;
  Socket socket;
  FrameReader incoming;
  std::string outgoing;
};

class StarSideChannel final : public SideChannel {
 public:
  StarSideChannel(int rank, std::vector<std::string> hosts, std::vector<Socket> sockets,
                  std::function<void(const Failure&)> first_handler)
      : rank_(rank), roll_(std::move(hosts)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!wake_.open()) throw Error(ErrorKind::environment, "side channel: no event descriptor");
    handlers_.push_back({std::move(first_handler), false});
    for (std::size_t i = 0; i < sockets.size(); ++i) {
      Link link;
      link.peer = rank == 0 ? static_cast<int>(i) + 1 : 0;
      link.socket = std::move(sockets[i]);
      links_.push_back(std::move(link));
    }
    thread_ = std::thread([this] { serve(); });
    pthread_setname_np(thread_.native_handle(), "side-channel");
  }

  ~StarSideChannel() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake();
    thread_.join();
  }

  void on_failure(std::function<void(const Failure&)> handler) override {
    {
      const std::lock_guard lock(mutex_);
      handlers_.push_back({std::move(handler), false});
    }
    wake();
  }

  void report(const Failure& failure) noexcept override {
    try {
      const std::lock_guard lock(mutex_);
      if (rank_ == 0)
        judge(failure);
      else
        tell(0, FrameKind::failure, to_text(failure));
      // Sent from here, not by the thread: the process may not have long to live.
      for (Link& link : links_) flush(link);
    } catch (...) {
      // Out of memory: the connection will close with the process, which says enough.
    }
    wake();
  }

  std::optional<Failure> verdict(double seconds) override {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, duration_of(seconds), [&] { return roll_.verdict().has_value(); });
    return roll_.verdict();
  }

  int first_survivor() const override {
    const std::lock_guard lock(mutex_);
    return roll_.first_survivor();
  }

  void leave_together(bool wrote, double seconds) noexcept override {
    try {
      std::unique_lock lock(mutex_);
      if (rank_ == 0)
        hear_ready(0, wrote);
      else
        tell(0, FrameKind::ready, wrote ? "1" : "0");
      lock.unlock();
      wake();
      lock.lock();
      changed_.wait_for(lock, duration_of(seconds),
                        [&] { return leave_ || (wrote && rank_ != 0 && !roll_.lives(0)); });
    } catch (...) {
      // Leaving early is all that can go wrong.
    }
  }

  void goodbye() noexcept override {
    try {
      std::unique_lock lock(mutex_);
      for (Link& link : links_) {
        link.outgoing += encode(FrameKind::goodbye);
        roll_.hear_goodbye(link.peer);  // whatever happens to the others concerns us no more
      }
      lock.unlock();
      wake();
      lock.lock();
      changed_.wait_for(lock, 1s, [&] { return all_sent(); });
    } catch (...) {
      // The others will take us for lost; they are leaving as well.
    }
  }

 private:
  struct Handler {
    std::function<void(const Failure&)> call;
    bool called = false;
  };

  void wake() noexcept {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.fd(), &one, sizeof one);
  }

  // The functions from here on want the mutex.

  bool all_sent() const {
    return std::all_of(links_.begin(), links_.end(), [](const Link& link) {
      return link.outgoing.empty() || !link.socket.open();
    });
  }

  void tell(int peer, FrameKind kind, std::string_view body = {}) {
    for (Link& link : links_)
      if (link.peer == peer) link.outgoing += encode(kind, body);
  }

  void tell_all(FrameKind kind, std::string_view body = {}) {
    for (Link& link : links_) link.outgoing += encode(kind, body);
  }

  void judge(const Failure& failure) {
    if (roll_.judge(failure)) announce();
  }

  void announce() {
    if (rank_ == 0) tell_all(FrameKind::verdict, to_text(*roll_.verdict()));
    changed_.notify_all();
  }

  void hear_ready(int rank, bool wrote) {
    if (wrote && !roll_.wrote()) wrote_at_ = Clock::now();
    roll_.hear_ready(rank, wrote);
    consider_leaving();
  }

  void consider_leaving() {
    if (rank_ != 0 || leave_ || !roll_.wrote()) return;
    if (!roll_.may_leave() && Clock::now() < wrote_at_ + leave_grace) return;
    leave_ = true;
    tell_all(FrameKind::leave);
    for (Link& link : links_) flush(link);  // our caller may end the process as soon as it hears
    changed_.notify_all();
  }

  void lose(Link& link) {
    link.socket.close();
    link.outgoing.clear();
    const bool had_verdict = roll_.verdict().has_value();
    const bool was_lost = !roll_.lives(link.peer);
    if (roll_.lose(link.peer)) announce();
    // Rank 0 closes after a verdict when it leaves, perhaps before its word reached us.
    if (rank_ != 0 && had_verdict) leave_ = true;
    if (rank_ == 0 && !was_lost) tell_all(FrameKind::lost, std::to_string(link.peer));
    consider_leaving();
    changed_.notify_all();
  }

  void hear(Link& link, const Frame& frame) {
    switch (frame.kind) {
      case FrameKind::failure:
        if (rank_ == 0) judge(failure_from(frame.body));
        break;
      case FrameKind::verdict: {
        const Failure failure = failure_from(frame.body);
        if (failure.kind == ErrorKind::peer_lost && failure.rank > 0)
          roll_.hear_goodbye(failure.rank);
        judge(failure);
        break;
      }
      case FrameKind::lost:
        roll_.hear_goodbye(std::atoi(frame.body.c_str()));
        break;
      case FrameKind::ready:
        hear_ready(link.peer, frame.body == "1");
        break;
      case FrameKind::leave:
        leave_ = true;
        break;
      case FrameKind::goodbye:
        roll_.hear_goodbye(link.peer);
        break;
    }
    consider_leaving();
    changed_.notify_all();
  }

  void flush(Link& link) {
    while (link.socket.open() && !link.outgoing.empty()) {
      const ssize_t sent = ::send(link.socket.fd(), link.outgoing.data(), link.outgoing.size(),
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0)
        link.outgoing.erase(0, static_cast<std::size_t>(sent));
      else if (errno != EINTR)
        break;  // full: poll will tell; broken: reading will
    }
    if (link.outgoing.empty()) changed_.notify_all();
  }

  void listen(Link& link) {
    char bytes[4096];
    for (;;) {
      const ssize_t got = ::recv(link.socket.fd(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return lose(link);
      try {
        link.incoming.feed({bytes, static_cast<std::size_t>(got)});
        while (const auto frame = link.incoming.next()) hear(link, *frame);
      } catch (const Error&) {
        return lose(link);  // what speaks there is not of us
      }
    }
  }

  // The channel's thread.

  void serve() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      for (Link& link : links_) flush(link);
      call_handlers(lock);
      std::vector<pollfd> entries{{wake_.fd(), POLLIN, 0}};
      for (const Link& link : links_) {
        const short events = static_cast<short>(POLLIN | (link.outgoing.empty() ? 0 : POLLOUT));
        entries.push_back({link.socket.fd(), events, 0});  // poll skips negative descriptors
      }
      const bool timing = rank_ == 0 && roll_.wrote() && !leave_;
      lock.unlock();
      ::poll(entries.data(), entries.size(), timing ? 20 : -1);
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t drained = ::read(wake_.fd(), &count, sizeof count);
      lock.lock();
      for (std::size_t i = 0; i < links_.size(); ++i)
        if (entries[i + 1].revents != 0 && links_[i].socket.open()) listen(links_[i]);
      consider_leaving();
    }
    for (Link& link : links_) flush(link);
  }

  void call_handlers(std::unique_lock<std::mutex>& lock) {
    if (!roll_.verdict()) return;
    const Failure failure = *roll_.verdict();
    for (std::size_t i = 0; i < handlers_.size(); ++i) {
      if (std::exchange(handlers_[i].called, true) || !handlers_[i].call) continue;
      const auto call = handlers_[i].call;
      lock.unlock();
      try {
        call(failure);
      } catch (const std::exception& error) {
        log::error("side channel: the handler of a failure failed itself: {}", error.what());
      }
      lock.lock();
    }
  }

  const int rank_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Roll roll_;
  Socket wake_;
  std::vector<Link> links_;
  std::vector<Handler> handlers_;
  Clock::time_point wrote_at_;
  bool leave_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<SideChannel> make_star_side_channel(
    int rank, std::vector<std::string> hosts, std::vector<Socket> links,
    std::function<void(const Failure&)> first_handler) {
  return std::make_unique<StarSideChannel>(rank, std::move(hosts), std::move(links),
                                           std::move(first_handler));
}

}  // namespace trireme::comm
