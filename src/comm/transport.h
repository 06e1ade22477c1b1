#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace trireme::comm {

/// Bytes that leave for a peer or are expected from it. The memory must live until the flight has
/// landed or was buried.
struct Message {
  enum class Way { send, receive };
  Way way = Way::send;
  int peer = 0;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  int tag = 0;
};

/// Messages under way.
class Flight {
 public:
  virtual ~Flight();
  /// True once all messages have arrived or left. Throws an Error of kind ranks_differ if one
  /// arrived with another length.
  [[nodiscard]] virtual bool landed() = 0;
  /// Peers (world ranks) whose message has not arrived, ascending; those that did not take theirs
  /// if none is awaited.
  [[nodiscard]] virtual std::vector<int> missing() = 0;
};

/// Point-to-point messages between the ranks of a world; everything else is built upon it. Messages
/// between two ranks with one tag arrive in order. Used by one thread only, except for wake().
class Transport {
 public:
  virtual ~Transport();
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// The longest message in bytes.
  [[nodiscard]] virtual std::size_t longest() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Flight> launch(std::span<const Message> messages) = 0;
  /// Gives up a flight that has not landed. `memory` holds what its messages point to, for as long
  /// as that may be touched.
  virtual void bury(std::unique_ptr<Flight> flight, std::shared_ptr<void> memory) = 0;
  /// A moment's rest between two looks at flights; `round` counts the looks since something last
  /// happened.
  virtual void pause(int round) = 0;
  /// Ends a pause early. Callable from any thread.
  virtual void wake() = 0;
  /// The orderly end; all ranks call it.
  virtual void finalize() = 0;
};

}  // namespace trireme::comm
