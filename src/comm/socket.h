#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

namespace trireme::comm {

/// Owns a file descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool open() const { return fd_ >= 0; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

/// How the others reach rank 0, as one line of text that rank 0 broadcasts.
struct Invitation {
  uint16_t port = 0;
  std::string token;  ///< shown by both sides, so that neither talks to a stranger
  std::vector<std::string> addresses;
};
[[nodiscard]] std::string to_text(const Invitation& invitation);
/// Throws for a text that is none.
[[nodiscard]] Invitation invitation_from(const std::string& text);

/// Listens on a free port: of the loopback interface if that is enough, else of all interfaces.
struct Listener {
  Socket socket;
  Invitation invitation;
};
[[nodiscard]] Listener listen_for_ranks(bool loopback_only);
/// Accepts ranks 1 .. size-1; element r-1 is the connection of rank r. Strangers are turned away.
/// Throws, naming who is missing, at the deadline.
[[nodiscard]] std::vector<Socket> accept_ranks(const Listener& listener, int size,
                                               std::chrono::milliseconds deadline);
/// Connects to rank 0, trying its addresses in turn until the deadline.
[[nodiscard]] Socket connect_to_rank_0(const Invitation& invitation, int rank,
                                       std::chrono::milliseconds deadline);

/// A connected pair inside this process.
[[nodiscard]] std::pair<Socket, Socket> socket_pair();

}  // namespace trireme::comm
