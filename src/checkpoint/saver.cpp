#include <trireme/checkpoint/saver.h>

#include "checkpoint/host_buffer.h"
#include "checkpoint/save.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

namespace trireme::checkpoint {
namespace {

using Clock = std::chrono::steady_clock;

/// Where cores are scarce the step comes first.
constexpr int niceness = 5;

}  // namespace

class Saver::Work {
 public:
  Work(comm::CommunicatorPtr ranks, Settings settings)
      : ranks_(std::move(ranks)), settings_(std::move(settings)) {}

  ~Work() {
    cancelled_ = true;
    join();
  }

  void begin(Collected state, Target target, std::function<void(const Committed&)> committed) {
    check(stage_ == Stage::none, "one save at a time");
    began_ = Clock::now();
    step_ = target.step;
    committed_ = std::move(committed);
    save_ = std::make_unique<Save>(std::move(state), *ranks_, std::move(target));
    const auto& at_once = settings_.copied_at_once;
    if (at_once) save_->copy(buffer_, at_once);
    stage_ = Stage::writing;
    copied_ = false;
    run([this, at_once] {
      save_->copy(buffer_, [&](const std::string& name) { return !at_once || !at_once(name); });
      {
        const std::lock_guard lock(mutex_);
        copied_ = true;
      }
      changed_.notify_all();
      save_->write(cancelled_);
    });
  }

  void wait_copied() {
    if (copied_.load(std::memory_order_acquire)) return;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return copied_.load(); });
  }

  [[nodiscard]] bool under_way() const { return stage_ != Stage::none; }
  [[nodiscard]] bool working() const { return working_; }

  std::optional<Result> advance() {
    check(stage_ != Stage::none, "a save is under way");
    join();
    if (stage_ == Stage::writing) {
      save_->hand_over();
      stage_ = Stage::completing;
      if (ranks_->rank() == 0)
        run([this] {
          if (const auto done = save_->complete(); done && committed_) committed_(*done);
        });
      return {};
    }
    Result result{.step = step_};
    try {
      result.committed = save_->conclude();
    } catch (const Error& error) {
      result.error = error;
    }
    result.seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    save_.reset();
    stage_ = Stage::none;
    return result;
  }

  std::optional<Result> finish() {
    if (stage_ == Stage::none) return {};
    std::optional<Result> result = advance();
    return result ? result : advance();
  }

 private:
  enum class Stage { none, writing, completing };

  void run(std::function<void()> work) {
    working_ = true;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
    thread_ = std::thread([this, work = std::move(work)] {
      pthread_setname_np(pthread_self(), "trireme-save");
      (void)::setpriority(PRIO_PROCESS, 0, niceness);  // of this thread alone, on Linux
      work();
      working_ = false;
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void join() {
    if (thread_.joinable()) thread_.join();
  }

  const comm::CommunicatorPtr ranks_;
  const Settings settings_;
  HostBuffer buffer_;
  std::unique_ptr<Save> save_;
  std::function<void(const Committed&)> committed_;
  Stage stage_ = Stage::none;
  int64_t step_ = 0;
  Clock::time_point began_;
  std::atomic<bool> working_{false}, cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> copied_{true};
  std::thread thread_;
};

Saver::Saver(comm::CommunicatorPtr ranks, Settings settings)
    : work_(std::make_unique<Work>(std::move(ranks), std::move(settings))) {}
Saver::~Saver() = default;

void Saver::begin(Collected state, Target target, std::function<void(const Committed&)> committed) {
  work_->begin(std::move(state), std::move(target), std::move(committed));
}
void Saver::wait_copied() {
  work_->wait_copied();
}
bool Saver::under_way() const {
  return work_->under_way();
}
bool Saver::working() const {
  return work_->working();
}
std::optional<Saver::Result> Saver::advance() {
  return work_->advance();
}
std::optional<Saver::Result> Saver::finish() {
  return work_->finish();
}

}  // namespace trireme::checkpoint
