// An edge's process that takes another's place: what of its clients and their sessions lives on.
#include <array>
#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include <openssl/ssl.h>

#include "tests/edge/remote_edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;
using Succession = RemoteEdgeTest;

TEST_F(Succession, a_new_build_takes_over_without_a_failed_request) {
  RecordingUpstream upstream(answer_with("served"));
  attach();
  route("shop.apps.test", {at(upstream)});
  table_.generation = 20;
  publish();
  const auto http = edge_->http_port();
  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  std::vector<std::thread> visitors;
  for (int i = 0; i < 4; ++i) {
    visitors.emplace_back([&, i] {
      Client client;
      bool open = false;
      while (!stop.load()) {
        if (!open) open = client.connect(http);
        const auto response = client.get("shop.apps.test");
        if (response.body == "served" && response.complete) {
          ++served;
        } else {
          ADD_FAILURE() << "visitor " << i << ": " << response.status << " " << response.body;
        }
        // One that is told to come anew does so; half of them do anyhow.
        if (i % 2 == 0 || response.field("connection") == "close" || response.status == 0) {
          client.close();
          open = false;
        }
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return served.load() > 100; }));
  for (const char* build : {"build-2", "build-3"}) {
    const auto before = pid();
    attach(config(build));
    EXPECT_NE(pid(), before);
    EXPECT_EQ(edge_->http_port(), http);
    EXPECT_EQ(edge_->generation(), 21U);
    const int seen = served.load();
    EXPECT_TRUE(eventually([&] { return served.load() > seen + 200; }));
  }
  stop = true;
  for (auto& visitor : visitors) visitor.join();
}

std::string ticket_of(const SSL_SESSION* session) {
  const unsigned char* ticket = nullptr;
  std::size_t bytes = 0;
  SSL_SESSION_get0_ticket(session, &ticket, &bytes);
  return {reinterpret_cast<const char*>(ticket), bytes};
}

TEST_F(Succession, sessions_are_resumed_with_the_process_that_comes_next) {
  RecordingUpstream upstream(answer_with("served"));
  attach();
  route("shop.apps.test", {at(upstream)});
  table_.generation = 20;
  publish();
  const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  const auto visit = [&](int version, SSL_SESSION* before) {
    Client client;
    EXPECT_TRUE(client.connect(edge_->https_port()));
    const SslPtr ssl(SSL_new(context.get()));
    SSL_set_max_proto_version(ssl.get(), version);
    SSL_set_tlsext_host_name(ssl.get(), "shop.apps.test");
    SSL_set_fd(ssl.get(), client.fd());
    if (before != nullptr) {
      EXPECT_EQ(SSL_set_session(ssl.get(), before), 1);
    }
    EXPECT_EQ(SSL_connect(ssl.get()), 1);
    const std::string request = "GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n";
    EXPECT_GT(SSL_write(ssl.get(), request.data(), static_cast<int>(request.size())), 0);
    std::array<char, 512> answer{};
    EXPECT_GT(SSL_read(ssl.get(), answer.data(), answer.size()), 0);  // and the ticket before it
    EXPECT_EQ(SSL_session_reused(ssl.get()), before != nullptr ? 1 : 0);
    if (before != nullptr && version == TLS1_3_VERSION) {
      EXPECT_NE(ticket_of(SSL_get_session(ssl.get())), ticket_of(before)) << "one is used once";
    }
    SSL_shutdown(ssl.get());
    return std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)>(SSL_get1_session(ssl.get()),
                                                                     SSL_SESSION_free);
  };
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto session = visit(version, nullptr);

    const auto before = pid();
    ASSERT_EQ(::kill(before, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return pid() != 0 && pid() != before; }));
    ASSERT_TRUE(eventually([&] { return get("shop.apps.test").body == "served"; }));
    session = visit(version, session.get());

    const auto newer = config("build-" + std::to_string(version));
    attach(newer);
    ASSERT_NE(pid(), before);
    session = visit(version, session.get());

    attach(newer);  // another control plane, which knows them from the process only
    const auto adopted = pid();
    ASSERT_EQ(::kill(adopted, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return pid() != 0 && pid() != adopted; }));
    ASSERT_TRUE(eventually([&] { return get("shop.apps.test").body == "served"; }));
    visit(version, session.get());
  }
}

TEST_F(Succession, the_process_before_ends_once_it_is_replaced) {
  attach();
  const auto before = identify_process(pid());
  ASSERT_TRUE(before.has_value());
  attach(config("build-2"));
  const FileDescriptor process = open_process(*before);
  EXPECT_TRUE(!process.valid() || wait_for_end(process, before->pid, k_patience));
}

TEST_F(Succession, an_end_takes_the_one_that_still_retires_with_it) {
  attach();
  Client kept;  // keeps the old one from ending by itself
  ASSERT_TRUE(kept.connect(edge_->http_port()));
  EXPECT_EQ(kept.get("nobody.test").status, 404);
  const auto before = identify_process(pid());
  ASSERT_TRUE(before.has_value());
  attach(config("build-2"));
  const auto after = pid();
  EXPECT_EQ(identify_process(before->pid), before);
  edge_.reset();
  EXPECT_EQ(end_edge(directory_).value(), after);
  EXPECT_FALSE(open_process(*before).valid());
  EXPECT_TRUE(kept.ended());
}

TEST_F(Succession, a_websocket_lives_on_through_two_replacements_and_an_end_finds_all_of_them) {
  RecordingUpstream echo([](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    session.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Accept: x\r\n\r\n");
    std::string bytes;
    while (!(bytes = session.read_some()).empty()) session.write("<" + bytes + ">");
  });
  attach();
  route("shop.apps.test", {at(echo)});
  publish();
  std::array<Client, 3> tunnels;
  std::array<pid_t, 3> processes{};
  for (std::size_t i = 0; i < tunnels.size(); ++i) {
    attach(config("build-" + std::to_string(i + 1)));
    processes[i] = pid();
    ASSERT_TRUE(tunnels[i].connect(edge_->http_port()));
    ASSERT_TRUE(
        tunnels[i].send("GET /ws HTTP/1.1\r\nHost: shop.apps.test\r\nConnection: Upgrade\r\n"
                        "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"));
    ASSERT_TRUE(tunnels[i].read_some().starts_with("HTTP/1.1 101"));
    for (std::size_t before = 0; before <= i; ++before) {
      ASSERT_TRUE(tunnels[before].send("ping"));
      EXPECT_EQ(tunnels[before].read_some(), "<ping>") << before << " after " << i;
    }
  }
  EXPECT_NE(processes[0], processes[1]);
  edge_.reset();
  EXPECT_EQ(end_edge(directory_).value(), processes[2]);
  for (const pid_t each : processes) EXPECT_NE(::kill(each, 0), 0) << each;
  for (Client& tunnel : tunnels) EXPECT_TRUE(tunnel.ended());
}

TEST_F(Succession, another_configuration_keeps_the_routes) {
  RecordingUpstream upstream(answer_with("served"));
  attach();
  route("shop.apps.test", {at(upstream)});
  publish();
  const auto before = pid();
  auto other = config();
  // Another port cannot be handed over.
  FileDescriptor taken = listen_tcp("127.0.0.1", 0, false).value();
  other.edge.http_port = local_port(taken);
  taken.reset();
  attach(other);
  EXPECT_NE(pid(), before);
  EXPECT_EQ(edge_->http_port(), other.edge.http_port);
  EXPECT_EQ(get("shop.apps.test").body, "served");
}

}  // namespace
}  // namespace atlasflow::edge
