// Nobody gets so much of what all share (descriptors, connections, handshakes, an instance's
// attention) that the others are locked out.
#include <algorithm>
#include <array>

#include <poll.h>

#include "edge/proxy/address_table.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;
using Clock = std::chrono::steady_clock;

class Admission : public EdgeTest {
 protected:
  // The time that a request of its own connection takes; it must be answered.
  [[nodiscard]] std::chrono::milliseconds time_from(const std::string& address,
                                                    const std::string& host) {
    const auto start = Clock::now();
    Client client;
    EXPECT_TRUE(client.connect(edge_->http_port(), address));
    EXPECT_EQ(client.get(host).status, 200) << "from " << address;
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
  }

  [[nodiscard]] std::vector<Client> connect_many(std::size_t count, const std::string& address,
                                                 const std::string& bytes = {}) {
    std::vector<Client> clients(count);
    for (Client& client : clients) {
      EXPECT_TRUE(client.connect(edge_->http_port(), address));
      if (!bytes.empty()) client.send(bytes);
    }
    return clients;
  }

  [[nodiscard]] static std::size_t closed_of(const std::vector<Client>& clients) {
    return static_cast<std::size_t>(
        std::count_if(clients.begin(), clients.end(), [](const Client& client) {
          std::array<char, 1024> bytes{};
          ssize_t got = 0;
          do {
            got = ::recv(client.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
          } while (got > 0);
          return got == 0 || errno == ECONNRESET;
        }));
  }

  // Never answers.
  static RecordingUpstream::Handler hang() {
    return [](UpstreamSession& session) {
      while (!session.read_some().empty()) {
      }
    };
  }
};

TEST_F(Admission, idle_connections_of_one_address_leave_room_for_another) {
  start([](EdgeConfig& config) { config.limits.connections_max = 400; });
  RecordingUpstream app(answer_with("ok"));
  route("shop.apps.test", {at(app)});
  publish();
  // Each has had its answer and idles; those beyond the address's half of all are turned away.
  std::vector<Client> idle(1'100);
  std::size_t served = 0;
  for (Client& client : idle) {
    ASSERT_TRUE(client.connect(edge_->http_port(), "127.0.0.3"));
    const int status = client.get("shop.apps.test").status;
    if (status == 200) ++served;
    EXPECT_TRUE(status == 200 || status == 429 || status == 0) << status;
  }
  EXPECT_GE(served, 150U);
  EXPECT_LE(served, 200U);
  for (int i = 0; i < 20; ++i) EXPECT_LT(time_from("127.0.0.2", "shop.apps.test"), 2s);
  idle.clear();
  EXPECT_TRUE(eventually([&] {
    Client client;
    return client.connect(edge_->http_port(), "127.0.0.3") &&
           client.get("shop.apps.test").status == 200;
  })) << "what it gave back it may have again";
}

TEST_F(Admission, near_the_limit_the_connection_that_idles_longest_goes_first) {
  start([](EdgeConfig& config) {
    config.limits.connections_max = 200;
    config.workers = 1;
  });
  RecordingUpstream app(answer_with("ok"));
  route("shop.apps.test", {at(app)});
  publish();
  std::vector<Client> old;
  for (const char* address : {"127.0.0.2", "127.0.0.3"}) {
    std::vector<Client> some = connect_many(80, address);
    std::move(some.begin(), some.end(), std::back_inserter(old));
  }
  for (Client& client : old) EXPECT_EQ(client.get("shop.apps.test").status, 200);
  EXPECT_EQ(old.front().get("shop.apps.test").status, 200) << "now the one that idles least";
  std::vector<Client> young;
  for (int i = 0; i < 50; ++i) {
    young.emplace_back();
    ASSERT_TRUE(young.back().connect(edge_->http_port(), "127.0.0.4"));
    EXPECT_EQ(young.back().get("shop.apps.test").status, 200);
  }
  EXPECT_EQ(closed_of(young), 0U);
  EXPECT_EQ(old.front().get("shop.apps.test").status, 200);
  EXPECT_EQ(old.back().get("shop.apps.test").status, 200);
  EXPECT_GE(closed_of({std::make_move_iterator(old.begin() + 1),
                       std::make_move_iterator(old.begin() + 31)}),
            30U);
}

TEST_F(Admission, slow_heads_from_many_addresses_leave_room_for_requests) {
  start([](EdgeConfig& config) { config.limits.connections_max = 200; });
  RecordingUpstream app(answer_with("ok"));
  route("shop.apps.test", {at(app)});
  publish();
  std::vector<Client> slow;
  for (int i = 10; i < 20; ++i) {
    std::vector<Client> some =
        connect_many(50, "127.0.0." + std::to_string(i), "GET / HTTP/1.1\r\nHost: sh");
    std::move(some.begin(), some.end(), std::back_inserter(slow));
  }
  for (int i = 0; i < 20; ++i) EXPECT_LT(time_from("127.0.0.2", "shop.apps.test"), 2s);
}

TEST_F(Admission, an_application_that_hangs_gets_no_more_than_its_part) {
  start([](EdgeConfig& config) {
    config.limits.connections_max = 400;
    config.limits.requests_per_instance = 40;
  });
  RecordingUpstream hung(hang());
  RecordingUpstream app(answer_with("ok"));
  route("hung.apps.test", {at(hung)});
  route("shop.apps.test", {at(app, "vm-2")});
  publish();
  const std::vector<Client> waiting =
      connect_many(120, "127.0.0.3", "GET / HTTP/1.1\r\nHost: hung.apps.test\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return hung.connections() >= 40; }));
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const ClientResponse response = client.get("hung.apps.test");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.field("x-atlas-error"), "overloaded");
  EXPECT_EQ(response.field("retry-after"), "5");
  EXPECT_LT(time_from("127.0.0.2", "shop.apps.test"), 2s);
  EXPECT_LE(hung.connections(), 80) << "each worker looks by itself";
}

TEST_F(Admission, requests_that_wait_for_a_connection_are_bounded_too) {
  start([](EdgeConfig& config) {
    config.limits.requests_per_instance = 40;
    config.timeouts.connect_retry = 60s;  // longer than anybody's patience here
    config.workers = 1;
  });
  RecordingUpstream gone(answer_with("x"));
  RecordingUpstream app(answer_with("ok"));
  const Upstream address = at(gone);
  gone.stop();
  route("gone.apps.test", {address});
  route("shop.apps.test", {at(app, "vm-2")});
  publish();
  std::vector<Client> waiting =
      connect_many(60, "127.0.0.3", "GET / HTTP/1.1\r\nHost: gone.apps.test\r\n\r\n");
  std::vector<pollfd> answered;
  for (const Client& client : waiting) answered.push_back({client.fd(), POLLIN, 0});
  EXPECT_TRUE(eventually([&] { return ::poll(answered.data(), answered.size(), 0) >= 15; }));
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    if (answered[i].revents != 0) {
      EXPECT_EQ(waiting[i].receive().status, 503);
    }
  }
  EXPECT_LT(time_from("127.0.0.2", "shop.apps.test"), 2s);
}

// The first message of a handshake, as a client that will never send another has it ready.
std::string recorded_hello(const std::string& name) {
  const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  const SslPtr ssl(SSL_new(context.get()));
  SSL_set_tlsext_host_name(ssl.get(), name.c_str());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(ssl.get());
  (void)SSL_do_handshake(ssl.get());
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(SSL_get_wbio(ssl.get()), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

TEST_F(Admission, a_flood_of_hellos_waits_behind_the_handshakes_of_others) {
  start([](EdgeConfig& config) {
    config.workers = 1;
    config.limits.handshakes_per_address = 5;
    config.limits.connections_max = 8'000;
    config.limits.connections_per_address = 4'000;
  });
  RecordingUpstream app(answer_with("ok"));
  route("shop.apps.test", {at(app)});
  publish();
  const std::string hello = recorded_hello("shop.apps.test");
  constexpr std::size_t k_flood = 3'000;
  std::vector<Client> flood(k_flood);
  for (Client& client : flood) {
    ASSERT_TRUE(client.connect(edge_->https_port(), "127.0.0.3"));
  }
  Client good;
  ASSERT_TRUE(good.connect(edge_->https_port(), "127.0.0.2"));
  for (Client& client : flood) client.send(hello);
  ASSERT_TRUE(good.start_tls("shop.apps.test", edge_->ca_certificate().string()));
  EXPECT_EQ(good.get("shop.apps.test").status, 200);
  std::vector<pollfd> answered;
  for (const Client& client : flood) answered.push_back({client.fd(), POLLIN, 0});
  const int count = ::poll(answered.data(), answered.size(), 0);
  EXPECT_LT(count, static_cast<int>(k_flood) * 3 / 4) << "the flood was served first";
  EXPECT_TRUE(eventually([&] {
    return ::poll(answered.data(), answered.size(), 0) == static_cast<int>(k_flood);
  })) << "they wait; they are not refused";
}

TEST(AddressTable, counts_a_household_of_ipv6_as_one_and_forgets_who_left) {
  const auto key = [](const char* text) {
    return address_key(parse_socket_address(text, 1).value(), 42);
  };
  EXPECT_EQ(key("2001:db8:1:2::1").hash, key("2001:db8:1:2:ffff::9").hash);
  EXPECT_NE(key("2001:db8:1:2::1").hash, key("2001:db8:1:3::1").hash);
  EXPECT_NE(key("192.0.2.1").hash, key("192.0.2.2").hash);
  ConnectionCounts counts;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(counts.enter(key("192.0.2.1"), 3));
  EXPECT_FALSE(counts.enter(key("192.0.2.1"), 3));
  EXPECT_TRUE(counts.enter(key("192.0.2.2"), 3));
  counts.leave(key("192.0.2.1"));
  EXPECT_TRUE(counts.enter(key("192.0.2.1"), 3));
}

TEST(AddressTable, a_rate_allows_a_burst_and_then_its_pace) {
  AddressRates rates(10);
  const AddressKey one{1};
  const AddressKey other{0x0000'0002'0000'0002ULL};
  int taken = 0;
  while (rates.take(one, 1'000)) ++taken;
  EXPECT_GE(taken, 40);
  EXPECT_LE(taken, 42);
  EXPECT_FALSE(rates.take(one, 1'050));
  EXPECT_TRUE(rates.take(one, 1'200));
  EXPECT_TRUE(rates.take(other, 1'050));
  AddressRates unlimited(0);
  for (int i = 0; i < 10'000; ++i) EXPECT_TRUE(unlimited.take(one, 1'000));
}

// A long answer for each that asks, as fast as it is taken: more than the kernel keeps of it.
class Memory : public Admission {
 protected:
  static constexpr std::size_t k_piece = std::size_t{64} << 10U;
  static constexpr std::size_t k_pieces = 96;
  static constexpr std::size_t k_body = k_piece * k_pieces;

  void serve(std::int64_t memory_max) {
    start([=](EdgeConfig& config) {
      config.workers = 1;
      config.limits.memory_max = memory_max;
    });
    upstream_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
      Request request;
      while (session.read_request(request)) {
        const bool big = request.path == "/big";
        session.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(big ? k_body : 2) +
                      "\r\n\r\n");
        const std::string piece(big ? k_piece : 2, 'x');
        for (std::size_t i = 0; i < (big ? k_pieces : 1); ++i) session.write(piece);
      }
    });
    route("shop.apps.test", {at(*upstream_)});
    publish();
  }

  std::unique_ptr<RecordingUpstream> upstream_;
};

TEST_F(Memory, near_its_limit_new_requests_are_refused_and_those_that_are_served_are_not) {
  serve(2 << 20);
  std::vector<Client> slow(200);
  std::size_t asked = 0;
  ClientResponse refused;
  for (Client& client : slow) {
    ++asked;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    ASSERT_TRUE(client.send("GET /big HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
    Client other;
    if (!other.connect(edge_->http_port()) ||
        !other.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n")) {
      continue;
    }
    pollfd answered{other.fd(), POLLIN, 0};
    if (::poll(&answered, 1, 300) != 1) break;  // it waits at the door: accepting is paused
    refused = other.receive();
    if (refused.status == 503) break;
    ASSERT_EQ(refused.status, 200);
  }
  ASSERT_LT(asked, slow.size()) << "the rest of 200 such answers is more than 2 MiB";
  ASSERT_GT(asked, 5U);
  std::size_t whole = 0;
  for (std::size_t i = 0; i < asked; ++i) {
    const ClientResponse answer = slow[i].receive();
    if (answer.status == 503) {
      EXPECT_EQ(answer.field("x-atlas-error"), "overloaded");
      EXPECT_NE(answer.field("retry-after"), "");
      continue;
    }
    EXPECT_EQ(answer.status, 200) << i;
    EXPECT_TRUE(answer.complete) << i;
    whole += answer.body.size() == k_body ? 1 : 0;
  }
  EXPECT_GE(whole + 1, asked) << "only the newest may have been refused";
  slow.clear();
  EXPECT_TRUE(eventually([&] {
    Client client;
    return client.connect(edge_->http_port()) && client.get("shop.apps.test").status == 200;
  }));
}

TEST_F(Memory, idle_connections_make_room_for_new_ones) {
  serve(1 << 20);
  std::vector<Client> idle(100);
  for (Client& client : idle) {
    ASSERT_TRUE(client.connect(edge_->http_port()));
    ASSERT_EQ(client.get("shop.apps.test").status, 200);
  }
  EXPECT_TRUE(eventually([&] { return closed_of(idle) >= 50; }))
      << "a mebibyte is for some forty of them";
}

}  // namespace
}  // namespace atlasflow::edge
