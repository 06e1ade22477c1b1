#include <trireme/checkpoint/saver.h>

#include "checkpoint/host_buffer.h"
#include "checkpoint/save.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
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
    saves_.clear();
  }

  [[nodiscard]] bool has_room() const {
    return saves_.size() < (settings_.staging.empty() ? size_t{1} : size_t{2});
  }

  void begin(Collected state, Target target, std::function<void(const Committed&)> committed) {
    check(has_room(), "there is room for another save");
    const auto began = Clock::now();
    const int64_t step = target.step;
    wait_for(buffer_free_);
    auto one =
        std::make_unique<UnderWay>(std::move(state), *ranks_, std::move(target), settings_.staging,
                                   step, began, std::move(committed), settings_.recorder);
    Save& save = one->save;
    const auto& at_once = settings_.copied_at_once;
    if (at_once) save.copy(buffer_, at_once);
    buffer_free_ = copied_ = false;
    one->run("save", [this, &save, at_once] {
      save.copy(buffer_, [&](const std::string& name) { return !at_once || !at_once(name); });
      tell(copied_);
      save.stage(cancelled_);
      const bool staged = !settings_.staging.empty();
      if (staged) tell(buffer_free_);
      const std::lock_guard older_first(slow_disk_);
      save.write(cancelled_);
      if (!staged) tell(buffer_free_);  // else it may be the next save's by now
    });
    saves_.push_back(std::move(one));
  }

  void wait_copied() { wait_for(copied_); }

  [[nodiscard]] bool under_way() const { return !saves_.empty(); }
  [[nodiscard]] bool working() const { return !saves_.empty() && saves_.front()->working; }

  std::optional<Result> advance() {
    check(!saves_.empty(), "a save is under way");
    UnderWay& oldest = *saves_.front();
    oldest.join();
    if (!oldest.handed_over) {
      oldest.save.hand_over();
      oldest.handed_over = true;
      if (ranks_->rank() == 0)
        oldest.run("commit", [&oldest] {
          const auto done = oldest.save.complete();
          if (done && oldest.committed) oldest.committed(*done);
        });
      return {};
    }
    Result result{.step = oldest.step};
    try {
      result.committed = oldest.save.conclude();
    } catch (const Error& error) {
      result.error = error;
    }
    result.seconds = std::chrono::duration<double>(Clock::now() - oldest.began).count();
    saves_.pop_front();
    return result;
  }

  std::optional<Result> finish() {
    if (saves_.empty()) return {};
    std::optional<Result> result = advance();
    return result ? result : advance();
  }

 private:
  /// One save and the thread that works on it.
  struct UnderWay {
    UnderWay(Collected state, comm::Communicator& ranks, Target target,
             const std::filesystem::path& staging, int64_t the_step, Clock::time_point when,
             std::function<void(const Committed&)> then, telemetry::Recorder* the_recorder)
        : save(std::move(state), ranks, std::move(target), staging),
          step(the_step),
          began(when),
          committed(std::move(then)),
          recorder(the_recorder) {}
    ~UnderWay() { join(); }
    UnderWay(const UnderWay&) = delete;
    UnderWay& operator=(const UnderWay&) = delete;

    /// `name`: of the work, in reports and traces.
    void run(const char* name, std::function<void()> work) {
      working = true;
      telemetry::Section* const section =
          telemetry::section_of(recorder, name, telemetry::Category::checkpointing);
      sigset_t all, before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
      thread = std::thread([this, section, work = std::move(work)] {
        pthread_setname_np(pthread_self(), "trireme-save");
        (void)::setpriority(PRIO_PROCESS, 0, niceness);  // of this thread alone, on Linux
        if (recorder != nullptr) recorder->spans().name_this_thread("checkpoint");
        {
          const telemetry::SectionScope scope(section);
          work();
        }
        working = false;
      });
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    void join() {
      if (thread.joinable()) thread.join();
    }

    Save save;
    const int64_t step;
    const Clock::time_point began;
    const std::function<void(const Committed&)> committed;
    telemetry::Recorder* const recorder;
    bool handed_over = false;
    std::atomic<bool> working{false};
    std::thread thread;
  };

  void tell(std::atomic<bool>& reached) {
    {
      const std::lock_guard lock(mutex_);
      reached = true;
    }
    changed_.notify_all();
  }

  void wait_for(const std::atomic<bool>& reached) {
    if (reached.load(std::memory_order_acquire)) return;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reached.load(); });
  }

  const comm::CommunicatorPtr ranks_;
  const Settings settings_;
  HostBuffer buffer_;  // of one save at a time
  std::atomic<bool> cancelled_{false};
  std::mutex slow_disk_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> copied_{true}, buffer_free_{true};  // of the save begun last
  std::deque<std::unique_ptr<UnderWay>> saves_;         // the oldest first
};

Saver::Saver(comm::CommunicatorPtr ranks, Settings settings)
    : work_(std::make_unique<Work>(std::move(ranks), std::move(settings))) {}
Saver::~Saver() = default;

bool Saver::has_room() const {
  return work_->has_room();
}
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
