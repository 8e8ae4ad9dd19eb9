// Remotes that hold on to whoever asks them: libgit2 waits for ever, and here nobody does.
#include "builder/source/remote_call.hpp"

#include <chrono>
#include <cstdio>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <sys/socket.h>

#include "base/deadline.hpp"
#include "base/ssh_key.hpp"
#include "builder/source/checkout.hpp"
#include "builder/source/remote_head.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"
#include "tests/builder/silent_peer.hpp"

namespace atlasflow::builder {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

bool send_all(int connection, std::string_view text) {
  while (!text.empty()) {
    const auto sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// A line as git's protocol has it (gitprotocol-common(5)).
std::string pkt(const std::string& text) {
  char size[5];
  std::snprintf(size, sizeof size, "%04zx", text.size() + 4);
  return size + text;
}

constexpr const char* k_refs_follow =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
    "Connection: close\r\n\r\n";

void trickle(int connection, const std::stop_token& stop) {
  // As whom it is spoken to: a handshake's record of 16 KiB, or an answer of HTTP.
  char first = 0;
  constexpr char k_handshake = 0x16;
  const bool is_tls = ::recv(connection, &first, 1, MSG_PEEK) == 1 && first == k_handshake;
  std::string text = is_tls ? std::string("\x16\x03\x03\x40\x00", 5)
                            : k_refs_follow + pkt("# service=git-upload-pack\n");
  text += std::string(10'000, 'x');
  for (const char c : text) {
    if (stop.stop_requested() || !send_all(connection, {&c, 1})) return;
    std::this_thread::sleep_for(100ms);
  }
}

void name_branches_without_end(int connection, const std::stop_token& stop) {
  if (!send_all(connection, k_refs_follow + pkt("# service=git-upload-pack\n") + "0000")) return;
  const std::string sha(40, 'a');
  bool is_first = true;
  for (std::uint64_t i = 0; !stop.stop_requested(); ++i) {
    std::string lines;
    for (int j = 0; j < 1000; ++j) {
      lines += pkt(sha + " refs/heads/b" + std::to_string(i * 1000 + static_cast<unsigned>(j)) +
                   (std::exchange(is_first, false) ? std::string("\0ofs-delta", 10) : "") + "\n");
    }
    if (!send_all(connection, lines)) return;
  }
}

struct Kind {
  const char* name;
  SilentPeer::Talk talk;
};
std::vector<Kind> kinds() { return {{"silent", {}}, {"a byte now and then", trickle}}; }

// As whoever looks does it.
template <typename Call>
std::chrono::steady_clock::duration timed(Call call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::steady_clock::now() - start;
}

TEST(RemoteCall, a_look_at_a_remote_that_holds_on_ends_at_its_deadline) {
  for (const auto& [name, talk] : kinds()) {
    SilentPeer peer(talk);
    for (const std::string scheme : {"http://", "https://", "ssh://git@"}) {
      SCOPED_TRACE(std::string(name) + " " + scheme);
      Deadline deadline({}, 700ms);
      Result<RemoteHead> head;
      const auto took = timed([&] {
        head = remote_head(scheme + "127.0.0.1:" + std::to_string(peer.port()) + "/repo.git",
                           "main", {}, {}, deadline.token());
      });
      ASSERT_FALSE(head);
      EXPECT_EQ(head.error().code, ErrorCode::cancelled) << to_string(head.error());
      EXPECT_TRUE(deadline.passed());
      EXPECT_LT(took, 10s);
    }
  }
}

TEST(RemoteCall, a_clone_from_a_remote_that_holds_on_ends_at_its_deadline) {
  for (const auto& [name, talk] : kinds()) {
    SilentPeer peer(talk);
    for (const std::string scheme : {"http://", "https://", "ssh://git@"}) {
      SCOPED_TRACE(std::string(name) + " " + scheme);
      const Scratch scratch;
      CheckoutRequest request;
      request.url = scheme + "127.0.0.1:" + std::to_string(peer.port()) + "/repo.git";
      request.sha = std::string(40, 'a');
      request.ref = "refs/heads/main";
      request.folder = scratch.path() / "work" / "checkout";
      Deadline deadline({}, 700ms);
      Result<Checkout> checkout;
      const auto took = timed([&] { checkout = check_out(request, deadline.token()); });
      ASSERT_FALSE(checkout);
      EXPECT_EQ(checkout.error().code, ErrorCode::cancelled) << to_string(checkout.error());
      EXPECT_LT(took, 10s);
    }
  }
}

// Each line of them would take memory for as long as they come.
TEST(RemoteCall, branches_without_end_are_refused) {
  SilentPeer peer(name_branches_without_end);
  const auto url = "http://127.0.0.1:" + std::to_string(peer.port()) + "/repo.git";
  const auto head = remote_head(url, "main");
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::too_large) << to_string(head.error());
  EXPECT_THAT(head.error().message, HasSubstr("64 MiB"));
  const Scratch scratch;
  CheckoutRequest request;
  request.url = url;
  request.sha = std::string(40, 'a');
  request.ref = "refs/heads/main";
  request.folder = scratch.path() / "work" / "checkout";
  const auto checkout = check_out(request, {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::too_large) << to_string(checkout.error());
}

// An SSH host may say whatever it likes before its version (RFC 4253 section 4.2), and who reads
// it is libssh2, by itself.
TEST(RemoteCall, an_ssh_host_that_talks_without_end_is_given_up) {
  SilentPeer peer([](int connection, const std::stop_token& stop) {
    const std::string chatter = std::string(1000, 'x') + "\r\n";
    while (!stop.stop_requested() && send_all(connection, chatter)) {
    }
  });
  Deadline deadline({}, 20s);
  const auto head = remote_head("ssh://git@127.0.0.1:" + std::to_string(peer.port()) + "/repo.git",
                                "main", {}, {}, deadline.token(), 1U << 20U);
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::too_large) << to_string(head.error());
  EXPECT_FALSE(deadline.passed());
}

// What one call was stopped of is no other's.
TEST(RemoteCall, calls_on_one_thread_know_nothing_of_each_other) {
  EXPECT_EQ(RemoteCall::of_this_thread(), nullptr);
  {
    std::stop_source stop;
    const RemoteCall outer("https://a/b", stop.get_token());
    stop.request_stop();
    {
      const RemoteCall inner("ssh://git@a/b", {});
      EXPECT_EQ(RemoteCall::of_this_thread(), &inner);
      EXPECT_TRUE(RemoteCall::of_this_thread()->is_ssh());
      EXPECT_FALSE(RemoteCall::of_this_thread()->stop().stop_requested());
    }
    EXPECT_EQ(RemoteCall::of_this_thread(), &outer);
  }
  EXPECT_EQ(RemoteCall::of_this_thread(), nullptr);
}

TEST(RemoteCall, what_comes_after_the_branches_has_its_own_limit) {
  RemoteCall call("https://a/b", {}, 100);
  EXPECT_TRUE(call.takes(60));
  EXPECT_TRUE(call.takes(40));
  EXPECT_FALSE(call.takes(1));
  EXPECT_TRUE(call.sent_too_many_refs());
  RemoteCall other("https://a/b", {}, 100);
  other.begin_objects();
  EXPECT_TRUE(other.takes(1'000'000));
  EXPECT_FALSE(other.sent_too_many_refs());
}

}  // namespace
}  // namespace atlasflow::builder
