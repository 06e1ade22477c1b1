#include "comm/engine.h"

#include <trireme/core/fault.h>

#include "comm/peers.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include <pthread.h>

namespace trireme::comm {
namespace {

std::shared_ptr<const Error> current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return std::make_shared<const Error>(error);
  } catch (const std::exception& error) {
    return std::make_shared<const Error>(ErrorKind::unexpected,
                                         std::string("communication failed: ") + error.what());
  }
}

struct Pending {
  OperationPtr operation;
  std::unique_ptr<Flight> flight;
};

}  // namespace

// Shared with the thread, which outlives the Engine if a library call never returns.
class Engine::Loop final : public Crew {
 public:
  explicit Loop(std::function<std::unique_ptr<Transport>()> open) : open_(std::move(open)) {}

  void run() {
    try {
      auto transport = open_();
      const std::lock_guard lock(mutex_);
      transport_ = std::move(transport);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      open_error_ = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      opened_ = true;
    }
    changed_.notify_all();
    if (open_error_ == nullptr) serve();
    {
      const std::lock_guard lock(mutex_);
      left_ = true;
    }
    changed_.notify_all();
  }

  void wait_open() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return opened_; });
    if (open_error_ != nullptr) std::rethrow_exception(open_error_);
  }

  void submit(OperationPtr operation) {
    beat();
    {
      const std::lock_guard lock(mutex_);
      if (finalized_ || stop_)
        throw Error(ErrorKind::unexpected, "communication after the end of the world");
      queue_.push_back(std::move(operation));
    }
    wake();
  }

  void wake() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
    if (transport_ != nullptr) transport_->wake();
  }

  void finalize() {
    std::unique_lock lock(mutex_);
    finalized_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return left_; });
    if (finalize_error_ != nullptr) std::rethrow_exception(finalize_error_);
  }

  /// True if the thread left within a moment.
  bool stop() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake();
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(2), [&] { return left_; });
  }

  void execute(const OperationPtr& operation) {
    beat();
    Peers peers(*this, operation);
    try {
      operation->health().throw_if_poisoned();
      static_cast<void>(core::fault::at("collective"));
      operation->start(peers);
    } catch (...) {
      fail(*operation, current_error());
      return;
    }
    if (auto flight = peers.take_posted())
      pending_.push_back({operation, std::move(flight)});
    else
      operation->end(nullptr);
  }

  Transport& transport() override { return *transport_; }

  void attend() override {
    beat();
    {
      const std::lock_guard lock(mutex_);
      if (stop_) throw Error(ErrorKind::unexpected, "the communicator was destroyed");
    }
    look_at_pending();
  }

  std::byte* scratch(std::size_t bytes) override {
    const std::size_t lines = bytes / sizeof(Line) + 1;
    if (scratch_ == nullptr) scratch_ = std::make_shared<std::vector<Line>>();
    if (scratch_->size() < lines) scratch_->resize(lines);
    return scratch_->front().bytes;
  }

  void bury(std::unique_ptr<Flight> flight, OperationPtr operation) override {
    // The next operation gets new scratch memory; the old belongs to the flight.
    using Grave = std::pair<OperationPtr, std::shared_ptr<std::vector<Line>>>;
    auto memory = std::make_shared<Grave>(std::move(operation), std::exchange(scratch_, nullptr));
    transport_->bury(std::move(flight), std::move(memory));
  }

  std::shared_ptr<Heartbeat> heartbeat = std::make_shared<Heartbeat>(0);

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };

  void beat() { heartbeat->store(steady_ns(), std::memory_order_relaxed); }

  void serve() {
    for (int round = 0;; ++round) {
      OperationPtr next;
      {
        std::unique_lock lock(mutex_);
        if (pending_.empty())
          changed_.wait(lock, [&] { return !queue_.empty() || stop_ || finalized_; });
        if (stop_) break;
        if (!queue_.empty()) {
          next = std::move(queue_.front());
          queue_.pop_front();
        } else if (finalized_) {
          break;
        }
      }
      beat();
      if (next != nullptr) {
        execute(next);
        round = 0;
      } else if (!pending_.empty()) {
        look_at_pending();
        if (!pending_.empty()) transport_->pause(round);
      }
    }
    clear();
  }

  void clear() {
    const auto gone =
        std::make_shared<const Error>(ErrorKind::unexpected, "the communicator was destroyed");
    for (Pending& message : pending_) {
      bury(std::move(message.flight), message.operation);
      message.operation->end(gone);
    }
    pending_.clear();
    std::unique_lock lock(mutex_);
    const auto queue = std::exchange(queue_, {});
    const bool orderly = !stop_;
    lock.unlock();
    for (const OperationPtr& operation : queue) operation->end(gone);
    if (!orderly) return;
    try {
      transport_->finalize();
    } catch (...) {
      finalize_error_ = std::current_exception();
    }
  }

  void look_at_pending() {
    for (auto at = pending_.begin(); at != pending_.end();) {
      Operation& operation = *at->operation;
      try {
        if (!at->flight->landed()) {
          operation.health().throw_if_poisoned();
          if (!operation.overdue(steady_ns())) {
            ++at;
            continue;
          }
          throw operation.hang(describe_missing(operation.group(), at->flight->missing()));
        }
        operation.end(nullptr);
      } catch (...) {
        const auto error = current_error();
        transport_->bury(std::move(at->flight), at->operation);
        fail(operation, error);
      }
      at = pending_.erase(at);
    }
  }

  /// A failed operation leaves its communicator in an unknown state: it is poisoned.
  static void fail(Operation& operation, const std::shared_ptr<const Error>& error) {
    operation.health().poison(*error);
    operation.end(operation.health().reason());
  }

  std::function<std::unique_ptr<Transport>()> open_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<OperationPtr> queue_;
  bool opened_ = false, finalized_ = false, stop_ = false, left_ = false;
  std::exception_ptr open_error_, finalize_error_;
  // Of the communication thread.
  std::unique_ptr<Transport> transport_;
  std::list<Pending> pending_;
  std::shared_ptr<std::vector<Line>> scratch_;
};

Engine::Engine(std::string thread_name, std::function<std::unique_ptr<Transport>()> open,
               bool alone)
    : thread_name_(std::move(thread_name)),
      alone_(alone),
      loop_(std::make_shared<Loop>(std::move(open))) {}

Engine::~Engine() {
  if (!thread_.joinable()) return;
  if (loop_->stop())
    thread_.join();
  else
    thread_.detach();  // stuck inside a library; it keeps what it uses
}

void Engine::start() {
  if (started_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(start_mutex_);
  if (started_) return;
  if (!thread_.joinable()) {
    thread_ = std::thread([loop = loop_] { loop->run(); });
    pthread_setname_np(thread_.native_handle(), thread_name_.substr(0, 15).c_str());
  }
  loop_->wait_open();
  started_ = true;
}

void Engine::submit(OperationPtr operation) {
  start();
  loop_->submit(std::move(operation));
}

void Engine::run_here(const OperationPtr& operation) {
  loop_->execute(operation);
}

void Engine::finalize() {
  if (!started_) return;
  loop_->finalize();
}

int Engine::rank() const {
  return loop_->transport().rank();
}
int Engine::size() const {
  return loop_->transport().size();
}
std::shared_ptr<Heartbeat> Engine::heartbeat() const {
  return loop_->heartbeat;
}

std::function<void()> Engine::waker() const {
  return [weak = std::weak_ptr<Loop>(loop_)] {
    if (const auto loop = weak.lock()) loop->wake();
  };
}

int Engine::next_context() const {
  return next_context_;
}
void Engine::use_context(int context) {
  next_context_ = context + 1;
}

}  // namespace trireme::comm
