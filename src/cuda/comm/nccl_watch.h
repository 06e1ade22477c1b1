#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>

namespace trireme::cuda {

class NcclLink;

/// One thread of the process that looks after all NCCL communicators: operations that do not end
/// before the deadline, failures that NCCL found in the background, poison that reached the host's
/// communicator. It aborts what is poisoned and takes down what nobody uses any more.
class Watch {
 public:
  static Watch& of_process();

  void add(std::shared_ptr<NcclLink> link);
  void wake();

  /// While one lives no event is asked: put it around the recording of a graph. One at a time.
  /// Deadlines and failures of the device are noticed after it.
  class Pause {
   public:
    Pause();

   private:
    std::unique_lock<std::mutex> asking_;
  };

  /// A graph is about to be enqueued: Error if a communicator that it may use is poisoned, and
  /// about to be aborted or gone.
  void will_replay(int device);
  /// A graph with collectives was enqueued on this stream of the device: from now on the deadline
  /// of their communicators runs for it, as for operations that were issued.
  void replayed(int device, cudaStream_t stream);

 private:
  Watch();
  void run();
  void stop();
  [[nodiscard]] std::vector<std::shared_ptr<NcclLink>> links();

  std::mutex asking_;  // held while events are asked
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<NcclLink>> links_;
  bool roused_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace trireme::cuda
