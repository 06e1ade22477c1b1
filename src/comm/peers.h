#pragma once

#include "comm/operation.h"
#include "comm/transport.h"

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace trireme::comm {

/// What the communication thread offers to the operation it runs.
class Crew {
 public:
  virtual ~Crew();
  [[nodiscard]] virtual Transport& transport() = 0;
  /// Called while an operation waits: looks after messages under way; throws when the engine is
  /// told to stop.
  virtual void attend() = 0;
  /// Memory of at least `bytes` for the running operation, aligned for any vector.
  [[nodiscard]] virtual std::byte* scratch(std::size_t bytes) = 0;
  /// Gives a flight up together with the memory it may still touch.
  virtual void bury(std::unique_ptr<Flight> flight, OperationPtr operation) = 0;
};

/// A running operation's view of the ranks of its group. Peers in messages are ranks of the group.
class Peers {
 public:
  Peers(Crew& crew, OperationPtr operation) : crew_(crew), operation_(std::move(operation)) {}

  [[nodiscard]] int rank() const { return operation_->group().rank; }
  [[nodiscard]] int size() const { return static_cast<int>(operation_->group().ranks.size()); }
  [[nodiscard]] std::byte* scratch(std::size_t bytes) { return crew_.scratch(bytes); }

  /// Sends and receives all of these, cut into pieces that the transport can carry, and waits.
  /// Throws when the communicator is poisoned or the deadline passes (which poisons it).
  void exchange(std::vector<Message> messages);
  /// Only sets them under way, as messages between two ranks (they never match those of
  /// exchange()). Once.
  void post(std::vector<Message> messages);
  [[nodiscard]] std::unique_ptr<Flight> take_posted() { return std::move(posted_); }

 private:
  [[nodiscard]] std::unique_ptr<Flight> launch(std::vector<Message> messages, bool collective);

  Crew& crew_;
  OperationPtr operation_;
  std::unique_ptr<Flight> posted_;
};

/// "rank 0 waits for ranks 2, 3" for the report of a hang; the flight's ranks are those of the
/// world.
[[nodiscard]] std::string describe_missing(const Group& group, const std::vector<int>& world_ranks);

[[nodiscard]] inline Message sending(int to, const void* data, std::size_t bytes) {
  // One type serves both ways; nobody writes through a message that is sent.
  return {Message::Way::send, to, static_cast<std::byte*>(const_cast<void*>(data)), bytes, 0};
}
[[nodiscard]] inline Message receiving(int from, void* data, std::size_t bytes) {
  return {Message::Way::receive, from, static_cast<std::byte*>(data), bytes, 0};
}

}  // namespace trireme::comm
