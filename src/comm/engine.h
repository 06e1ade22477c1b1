#pragma once

#include "comm/operation.h"
#include "comm/transport.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace trireme::comm {

/// The communication thread of one rank. It owns the transport and executes the operations of all
/// communicators of the rank in the order they were submitted; sends and receives between two ranks
/// only start in that order and then complete on the side. Waiting is always a loop that looks, so
/// a poisoned operation ends at once and the thread goes on with the next.
class Engine {
 public:
  /// `open` is called on the communication thread, at start().
  Engine(std::string thread_name, std::function<std::unique_ptr<Transport>()> open,
         bool alone = false);
  /// Ends pending operations with an Error, without communicating.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Starts the thread and opens the transport; throws what `open` threw. The first submit() does
  /// it too.
  void start();
  void submit(OperationPtr operation);
  /// Whether this is a world of one, whose collectives need nobody and are run by run_here().
  [[nodiscard]] bool alone() const { return alone_; }
  void run_here(const OperationPtr& operation);
  /// The transport's orderly end, after everything submitted before. Every rank calls. Nothing may
  /// be submitted later.
  void finalize();

  /// After start().
  [[nodiscard]] int rank() const;
  [[nodiscard]] int size() const;
  [[nodiscard]] std::shared_ptr<Heartbeat> heartbeat() const;
  /// Rouses the thread; harmless after the engine is gone.
  [[nodiscard]] std::function<void()> waker() const;
  /// The first context that no group of this rank uses; groups made together take the highest of
  /// their ranks.
  [[nodiscard]] int next_context() const;
  void use_context(int context);

 private:
  class Loop;
  std::string thread_name_;
  bool alone_;
  std::shared_ptr<Loop> loop_;
  std::mutex start_mutex_;
  std::atomic<bool> started_{false};
  std::atomic<int> next_context_{1};
  std::thread thread_;
};

}  // namespace trireme::comm
