#include "comm/socket.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sstream>
#include <system_error>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

namespace trireme::comm {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t token_letters = 32;
constexpr char agreed = '+';

/// What each side shows the other when they meet. Fixed size, the same byte order on both (one
/// architecture per run).
struct Greeting {
  char magic[8] = {'t', 'r', 'i', 'r', 'e', 'm', 'e', '1'};
  char token[token_letters] = {};
  int32_t rank = 0;
};

Error system_error(const std::string& what) {
  return Error(ErrorKind::environment,
               "side channel: " + what + ": " + std::generic_category().message(errno));
}

int milliseconds_left(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

bool wait_ready(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, milliseconds_left(deadline));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

bool send_all(int fd, const void* data, std::size_t bytes, Clock::time_point deadline) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = ::send(fd, at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      at += sent;
      bytes -= static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      if (!wait_ready(fd, POLLOUT, deadline)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool receive_all(int fd, void* data, std::size_t bytes, Clock::time_point deadline) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    if (!wait_ready(fd, POLLIN, deadline)) return false;
    const ssize_t got = ::recv(fd, at, bytes, MSG_DONTWAIT);
    if (got > 0) {
      at += got;
      bytes -= static_cast<std::size_t>(got);
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
      return false;
    }
  }
  return true;
}

Greeting greeting_of(const std::string& token, int rank) {
  Greeting greeting;
  std::memcpy(greeting.token, token.data(), std::min(token.size(), token_letters));
  greeting.rank = rank;
  return greeting;
}

bool same_run(const Greeting& a, const Greeting& b) {
  return std::memcmp(a.magic, b.magic, sizeof a.magic) == 0 &&
         std::memcmp(a.token, b.token, sizeof a.token) == 0;
}

/// A closed connection is noticed at once; these also notice a host or cable that died, after about
/// a minute.
void watch_connection(int fd) {
  const auto set = [fd](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 20);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 60'000);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

std::string random_token() {
  std::array<unsigned char, token_letters / 2> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw system_error("no random numbers");
  std::string token;
  for (const unsigned char byte : bytes) {
    token += "0123456789abcdef"[byte >> 4];
    token += "0123456789abcdef"[byte & 15];
  }
  return token;
}

/// Numeric addresses of the interfaces that are up: IPv4 before IPv6, loopback last.
std::vector<std::string> own_addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) throw system_error("cannot list the network interfaces");
  std::vector<std::string> by_preference[3];
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    const bool loopback = (one->ifa_flags & IFF_LOOPBACK) != 0;
    char text[INET6_ADDRSTRLEN] = {};
    if (one->ifa_addr->sa_family == AF_INET) {
      const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
      ::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
      by_preference[loopback ? 2 : 0].emplace_back(text);
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr);
      if (loopback || IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) continue;
      ::inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
      by_preference[1].emplace_back(text);
    }
  }
  ::freeifaddrs(list);
  std::vector<std::string> all;
  for (const auto& group : by_preference) all.insert(all.end(), group.begin(), group.end());
  return all;
}

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::optional<Address> parse_address(const std::string& text, uint16_t port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof(sockaddr_in);
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof(sockaddr_in6);
  } else {
    return std::nullopt;
  }
  return address;
}

Socket open_socket(int family) {
  return Socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/// Bound to any free port, or an unopened Socket.
Socket bound_to(const std::string& text) {
  const auto address = parse_address(text, 0);
  Socket socket = open_socket(address->storage.ss_family);
  if (!socket.open()) return {};
  if (address->storage.ss_family == AF_INET6) {
    const int off = 0;  // serve IPv4 as well
    ::setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (::bind(socket.fd(), address->get(), address->length) != 0) return {};
  return socket;
}

uint16_t port_of(const Socket& socket) {
  Address address;
  address.length = sizeof address.storage;
  if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address.storage), &address.length) !=
      0)
    throw system_error("cannot learn the own port");
  if (address.storage.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

Socket try_connect(const Address& address, const Greeting& mine, Clock::time_point deadline) {
  Socket socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.open()) return {};
  if (::connect(socket.fd(), address.get(), address.length) != 0) {
    if (errno != EINPROGRESS || !wait_ready(socket.fd(), POLLOUT, deadline)) return {};
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return {};
  }
  Greeting theirs;
  if (!send_all(socket.fd(), &mine, sizeof mine, deadline) ||
      !receive_all(socket.fd(), &theirs, sizeof theirs, deadline) || !same_run(mine, theirs))
    return {};
  // The third word: rank 0 must not count on a connection that we gave up meanwhile.
  if (!send_all(socket.fd(), &agreed, 1, deadline)) return {};
  watch_connection(socket.fd());
  return socket;
}

}  // namespace

std::string to_text(const Invitation& invitation) {
  std::string text = std::to_string(invitation.port) + " " + invitation.token;
  for (const std::string& address : invitation.addresses) text += " " + address;
  return text;
}

Invitation invitation_from(const std::string& text) {
  std::istringstream words(text);
  Invitation invitation;
  std::string address;
  if (!(words >> invitation.port >> invitation.token) || invitation.token.size() != token_letters)
    throw Error(ErrorKind::ranks_differ, "side channel: rank 0 sent no invitation",
                "use the same build of trireme on all ranks");
  while (words >> address) invitation.addresses.push_back(address);
  return invitation;
}

Listener listen_for_ranks(bool loopback_only) {
  Listener listener;
  if (loopback_only) {
    listener.socket = bound_to("127.0.0.1");
    listener.invitation.addresses = {"127.0.0.1"};
  } else {
    listener.socket = bound_to("::");
    if (!listener.socket.open()) listener.socket = bound_to("0.0.0.0");
    listener.invitation.addresses = own_addresses();
  }
  if (!listener.socket.open() || ::listen(listener.socket.fd(), 512) != 0)
    throw system_error("rank 0 cannot listen");
  listener.invitation.port = port_of(listener.socket);
  listener.invitation.token = random_token();
  return listener;
}

std::vector<Socket> accept_ranks(const Listener& listener, int size,
                                 std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  std::vector<Socket> ranks(static_cast<std::size_t>(size - 1));
  const auto missing = [&] {
    return std::count_if(ranks.begin(), ranks.end(), [](const Socket& s) { return !s.open(); });
  };
  while (missing() > 0) {
    if (!wait_ready(listener.socket.fd(), POLLIN, deadline)) {
      std::string names;
      for (std::size_t r = 0; r < ranks.size(); ++r)
        if (!ranks[r].open()) names += " " + std::to_string(r + 1);
      throw Error(ErrorKind::environment,
                  "side channel: these ranks could not connect to rank 0:" + names,
                  "let TCP connections between the nodes of a job pass the firewall");
    }
    Socket guest(::accept4(listener.socket.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!guest.open()) continue;
    const Greeting mine = greeting_of(listener.invitation.token, 0);
    Greeting theirs;
    const auto soon = std::min(deadline, Clock::now() + 2s);
    if (!receive_all(guest.fd(), &theirs, sizeof theirs, soon) || !same_run(mine, theirs)) continue;
    if (theirs.rank < 1 || theirs.rank >= size) continue;
    char word = 0;
    if (!send_all(guest.fd(), &mine, sizeof mine, soon) ||
        !receive_all(guest.fd(), &word, 1, soon) || word != agreed)
      continue;
    watch_connection(guest.fd());
    ranks[static_cast<std::size_t>(theirs.rank - 1)] = std::move(guest);
  }
  return ranks;
}

Socket connect_to_rank_0(const Invitation& invitation, int rank,
                         std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  const Greeting mine = greeting_of(invitation.token, rank);
  std::string tried;
  for (const std::string& text : invitation.addresses) tried += " " + text;
  do {
    for (const std::string& text : invitation.addresses) {
      const auto address = parse_address(text, invitation.port);
      if (!address) continue;
      // An address of another network may swallow packets silently: go on soon.
      Socket socket = try_connect(*address, mine, std::min(deadline, Clock::now() + 3s));
      if (socket.open()) return socket;
    }
    ::poll(nullptr, 0, 50);
  } while (Clock::now() < deadline);
  throw Error(ErrorKind::environment,
              "side channel: rank " + std::to_string(rank) +
                  " reaches rank 0 under none of its addresses" + tried + ", port " +
                  std::to_string(invitation.port),
              "let TCP connections between the nodes of a job pass the firewall");
}

std::pair<Socket, Socket> socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    throw system_error("no socket pair");
  return {Socket(fds[0]), Socket(fds[1])};
}

}  // namespace trireme::comm
