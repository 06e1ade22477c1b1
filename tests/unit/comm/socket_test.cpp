#include "comm/socket.h"

#include <trireme/core/error.h>

#include <future>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace trireme::comm {
namespace {

using namespace std::chrono_literals;

std::string read_text(const Socket& socket, std::size_t bytes) {
  std::string text(bytes, '\0');
  const auto got = ::recv(socket.fd(), text.data(), bytes, MSG_WAITALL);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

void join_three(bool loopback_only) {
  const Listener listener = listen_for_ranks(loopback_only);
  const Invitation invitation = invitation_from(to_text(listener.invitation));
  auto second =
      std::async(std::launch::async, [&] { return connect_to_rank_0(invitation, 2, 20s); });
  auto first =
      std::async(std::launch::async, [&] { return connect_to_rank_0(invitation, 1, 20s); });
  const std::vector<Socket> ranks = accept_ranks(listener, 3, 20s);
  const Socket one = first.get(), two = second.get();
  ASSERT_EQ(ranks.size(), 2u);
  ::send(one.fd(), "+one", 4, 0);
  ::send(two.fd(), "+two", 4, 0);
  EXPECT_EQ(read_text(ranks[0], 4), "+one");
  EXPECT_EQ(read_text(ranks[1], 4), "+two");
}

TEST(Connection, brings_each_rank_to_its_place_on_one_host) {
  join_three(true);
}
TEST(Connection, brings_each_rank_to_its_place_by_the_hosts_addresses) {
  join_three(false);
}

TEST(Connection, turns_strangers_away) {
  const Listener listener = listen_for_ranks(true);
  auto ranks = std::async(std::launch::async, [&] { return accept_ranks(listener, 2, 20s); });
  Invitation forged = listener.invitation;
  forged.token[0] = forged.token[0] == 'a' ? 'b' : 'a';
  EXPECT_THROW(static_cast<void>(connect_to_rank_0(forged, 1, 100ms)), Error);
  // A rank that does not exist.
  EXPECT_THROW(static_cast<void>(connect_to_rank_0(listener.invitation, 7, 100ms)), Error);
  const Socket honest = connect_to_rank_0(listener.invitation, 1, 20s);
  const auto accepted = ranks.get();
  ::send(honest.fd(), "it is me", 8, 0);
  EXPECT_EQ(read_text(accepted[0], 8), "it is me");
}

TEST(Connection, names_the_ranks_that_did_not_come) {
  const Listener listener = listen_for_ranks(true);
  const auto one = std::async(std::launch::async,
                              [&] { return connect_to_rank_0(listener.invitation, 2, 20s); });
  try {
    static_cast<void>(accept_ranks(listener, 4, 300ms));
    FAIL() << "nobody was missed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::environment);
    EXPECT_THAT(error.message(), testing::HasSubstr(" 1 3"));
  }
}

TEST(Connection, that_cannot_be_made_names_the_addresses) {
  Invitation nowhere{1, std::string(32, 'x'), {"127.0.0.1", "no address"}};
  try {
    static_cast<void>(connect_to_rank_0(nowhere, 5, 100ms));
    FAIL() << "connected to nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::environment);
    EXPECT_THAT(error.message(), testing::HasSubstr("rank 5"));
    EXPECT_THAT(error.message(), testing::HasSubstr("127.0.0.1"));
  }
}

TEST(Connection, refuses_a_text_that_is_no_invitation) {
  for (const char* text : {"", "x", "80", "80 short"})
    EXPECT_THROW(static_cast<void>(invitation_from(text)), Error) << text;
}

}  // namespace
}  // namespace trireme::comm
