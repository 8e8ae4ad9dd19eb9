// Publishing and draining: requests go where the newest table says, and nobody notices the change.
#include <future>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;

class RouteSwitch : public EdgeTest {};

TEST_F(RouteSwitch, an_older_or_equal_generation_is_refused) {
  start();
  RecordingUpstream upstream(answer_with("new"));
  route("shop.apps.test", {at(upstream)});
  table_.generation = 6;
  publish();
  for (std::uint64_t generation : {0U, 6U, 7U}) {
    RouteTable other;
    other.generation = generation;
    const auto published = edge_->publish(other);
    EXPECT_EQ(published.has_value(), false) << generation;
    EXPECT_EQ(published.error().code, ErrorCode::conflict);
  }
  EXPECT_EQ(edge_->generation(), 7U);
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  EXPECT_EQ(client.get("shop.apps.test").body, "new");
}

TEST_F(RouteSwitch, a_table_that_makes_no_sense_is_refused_as_a_whole) {
  start();
  const auto refused = [&](std::vector<Route> routes) {
    RouteTable table;
    table.generation = 9;
    table.routes = std::move(routes);
    const auto published = edge_->publish(table);
    return !published.has_value() && published.error().code == ErrorCode::invalid_argument;
  };
  const Upstream good{"vm", "127.0.0.1", 80};
  EXPECT_TRUE(refused({{"a.test", "p", "d", {good}, ""}, {"a.test", "p", "d", {good}, ""}}));
  EXPECT_TRUE(refused({{"A.test", "p", "d", {good}, ""}}));
  EXPECT_TRUE(refused({{"a.test:80", "p", "d", {good}, ""}}));
  EXPECT_TRUE(refused({{"a.test", "p", "d", {{"vm", "localhost", 80}}, ""}}));
  EXPECT_TRUE(refused({{"a.test", "p", "d", {{"vm", "127.0.0.1", 0}}, ""}}));
  EXPECT_TRUE(refused({{"a.test", "p", "d", {{"vm", "unix:relative", 0}}, ""}}));
  EXPECT_EQ(edge_->generation(), 0U);
}

TEST_F(RouteSwitch, the_next_request_of_a_connection_goes_to_the_new_upstream) {
  start();
  RecordingUpstream old_one(answer_with("old"));
  RecordingUpstream new_one(answer_with("new"));
  route("shop.apps.test", {at(old_one, "vm-old")});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  EXPECT_EQ(client.get("shop.apps.test").body, "old");
  route("shop.apps.test", {at(new_one, "vm-new")});
  publish();
  EXPECT_EQ(client.get("shop.apps.test").body, "new");
  EXPECT_EQ(edge_->drain("vm-old", 10s), 0U);
}

TEST_F(RouteSwitch, no_request_fails_while_upstreams_are_replaced_and_killed) {
  start();
  constexpr int k_switches = 12;
  constexpr int k_clients = 6;
  auto current = std::make_unique<RecordingUpstream>(answer_with("v0"));
  route("shop.apps.test", {at(*current, "vm-0")});
  publish();

  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < k_clients; ++i) {
    clients.emplace_back([&, i] {
      Client client;
      bool open = client.connect(edge_->http_port());
      for (int n = 0; !stop.load() && n < 20000; ++n) {
        if (i == 0 && n % 10 == 9) {  // one client comes anew now and then
          client.close();
          open = client.connect(edge_->http_port());
        }
        ClientResponse response;
        if (open && i % 2 == 0) {
          response = client.get("shop.apps.test");
        } else if (open) {
          client.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 4\r\n\r\ndata");
          response = client.receive();
        }
        const bool good = response.status == 200 && response.complete;
        ++(good ? served : failed);
        if (!good) {
          ADD_FAILURE() << "client " << i << " request " << n << ": " << response.status << " "
                        << response.body;
          client.close();
          open = client.connect(edge_->http_port());
        }
      }
    });
  }
  for (int i = 1; i <= k_switches; ++i) {
    auto next = std::make_unique<RecordingUpstream>(answer_with("v" + std::to_string(i)));
    route("shop.apps.test", {at(*next, "vm-" + std::to_string(i))});
    publish();
    EXPECT_EQ(edge_->drain("vm-" + std::to_string(i - 1), 10s), 0U);
    current->stop();  // as hard as a VM that is killed
    current = std::move(next);
    const int seen = served.load();
    EXPECT_TRUE(eventually([&] { return served.load() >= seen + 50; }));
  }
  stop = true;
  for (auto& thread : clients) thread.join();
  EXPECT_EQ(failed.load(), 0);
  EXPECT_GT(served.load(), k_switches * 50);
}

TEST_F(RouteSwitch, a_drain_waits_for_a_slow_request_and_closes_idle_connections) {
  start();
  std::promise<void> asked;
  std::promise<void> release;
  std::atomic<int> open{0};
  RecordingUpstream old_one([&](UpstreamSession& session) {
    ++open;
    Request request;
    while (session.read_request(request)) {
      if (request.path == "/slow") {
        asked.set_value();
        release.get_future().wait();
      }
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
    }
    --open;
  });
  RecordingUpstream new_one(answer_with("new"));
  route("shop.apps.test", {at(old_one, "vm-old")});
  publish();
  Client slow;
  Client quick;
  ASSERT_TRUE(slow.connect(edge_->http_port()));
  ASSERT_TRUE(quick.connect(edge_->http_port()));
  EXPECT_EQ(quick.get("shop.apps.test").body, "slow");  // leaves a pooled connection behind
  ASSERT_TRUE(slow.send("GET /slow HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  asked.get_future().wait();
  route("shop.apps.test", {at(new_one, "vm-new")});
  publish();
  auto drained = std::async(std::launch::async, [&] { return edge_->drain("vm-old", 60s); });
  EXPECT_EQ(quick.get("shop.apps.test").body, "new");
  EXPECT_EQ(drained.wait_for(200ms), std::future_status::timeout);
  release.set_value();
  EXPECT_EQ(slow.receive().body, "slow");
  EXPECT_EQ(drained.get(), 0U);
  EXPECT_TRUE(eventually([&] { return open.load() == 0; })) << "no connection to it is kept";
  EXPECT_EQ(slow.get("shop.apps.test").body, "new") << "the client's connection is not cut";
}

TEST_F(RouteSwitch, a_drain_cuts_what_is_left_at_its_deadline) {
  start();
  std::atomic<int> requests{0};
  RecordingUpstream old_one([&](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    if (request.path == "/begun") {
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
    } else if (request.path == "/ws") {
      session.write("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    }
    ++requests;
    while (!session.read_some().empty()) {
    }
  });
  route("shop.apps.test", {at(old_one, "vm-old")});
  publish();
  Client waiting;
  Client begun;
  Client tunnel;
  for (Client* client : {&waiting, &begun, &tunnel}) {
    ASSERT_TRUE(client->connect(edge_->http_port()));
  }
  ASSERT_TRUE(waiting.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_TRUE(begun.send("GET /begun HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_EQ(
      tunnel.get("shop.apps.test", "/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n").status,
      101);
  ASSERT_TRUE(eventually([&] { return requests.load() == 3; }));
  std::string head = begun.read_some();
  EXPECT_NE(head.find("begun"), std::string::npos);
  route("shop.apps.test", {}, "it is being replaced");
  publish();
  EXPECT_EQ(edge_->drain("vm-old", 200ms), 3U);
  const ClientResponse response = waiting.receive();
  EXPECT_EQ(response.status, 504);
  EXPECT_EQ(response.field("x-atlas-error"), "drained");
  EXPECT_TRUE(begun.ended());
  EXPECT_TRUE(tunnel.ended());
  EXPECT_EQ(edge_->drain("vm-old", 10s), 0U) << "a second drain finds nothing";
  EXPECT_EQ(edge_->drain("vm-never-seen", 10s), 0U);
}

TEST_F(RouteSwitch, the_own_route_and_the_table_change_without_each_other) {
  start();
  RecordingUpstream app(answer_with("app"));
  RecordingUpstream api(answer_with("api"));
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(edge_->set_own_route({"apps.test", "atlasflow", "", {}, "starting"}).has_value());
  EXPECT_EQ(client.get("apps.test").status, 503);
  route("shop.apps.test", {at(app)});
  publish();
  EXPECT_EQ(client.get("apps.test").status, 503) << "a table does not take it away";
  ASSERT_TRUE(
      edge_->set_own_route({"apps.test", "atlasflow", "", {at(api, "own")}, ""}).has_value());
  EXPECT_EQ(edge_->generation(), table_.generation);
  EXPECT_EQ(client.get("apps.test").body, "api");
  EXPECT_EQ(client.get("shop.apps.test").body, "app") << "nor it the table";
  table_.routes.clear();
  publish();
  EXPECT_EQ(client.get("apps.test").body, "api");
  EXPECT_EQ(client.get("shop.apps.test").status, 404);

  route("apps.test", {at(app)});
  ++table_.generation;
  EXPECT_EQ(edge_->publish(table_).error().code, ErrorCode::invalid_argument)
      << "no app may claim that host";
}

TEST_F(RouteSwitch, a_retiring_edge_answers_and_lets_go) {
  start();
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.apps.test", {at(upstream)});
  publish();
  Client kept;
  ASSERT_TRUE(kept.connect(edge_->http_port()));
  EXPECT_EQ(kept.get("shop.apps.test").field("connection"), "");
  auto& local = dynamic_cast<LocalEdge&>(*edge_);
  auto retired = std::async(std::launch::async, [&] { local.retire(60s, 60s); });
  ASSERT_TRUE(eventually([&] {
    Client late;
    return !late.connect(edge_->http_port());
  }));
  EXPECT_EQ(retired.wait_for(50ms), std::future_status::timeout) << "a client may still ask";
  const ClientResponse last = kept.get("shop.apps.test");
  EXPECT_EQ(last.body, "ok");
  EXPECT_EQ(last.field("connection"), "close");
  EXPECT_TRUE(kept.ended());
  retired.get();
  EXPECT_TRUE(local.listeners().http.empty()) << "there is nothing left to hand over";
}

TEST_F(RouteSwitch, a_retiring_edge_waits_longer_for_a_websocket_than_for_an_idle_client) {
  start();
  RecordingUpstream echo([](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    session.write(request.path == "/ws"
                      ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                        "Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
                      : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    std::string bytes;
    while (!(bytes = session.read_some()).empty()) session.write("<" + bytes + ">");
  });
  route("shop.apps.test", {at(echo)});
  publish();
  Client idle;
  ASSERT_TRUE(idle.connect(edge_->http_port()));
  ASSERT_EQ(idle.get("shop.apps.test").status, 200);
  Client tunnel;
  ASSERT_TRUE(tunnel.connect(edge_->http_port()));
  ASSERT_TRUE(tunnel.send(
      "GET /ws HTTP/1.1\r\nHost: shop.apps.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: k\r\n\r\n"));
  ASSERT_TRUE(tunnel.read_some().starts_with("HTTP/1.1 101"));

  auto& local = dynamic_cast<LocalEdge&>(*edge_);
  const auto began = std::chrono::steady_clock::now();
  auto retired = std::async(std::launch::async, [&] { local.retire(100ms, 60s); });
  EXPECT_TRUE(idle.ended()) << "between two requests, and its time is over";
  EXPECT_GE(std::chrono::steady_clock::now() - began, 100ms);
  ASSERT_TRUE(tunnel.send("ping"));
  EXPECT_EQ(tunnel.read_some(), "<ping>");
  EXPECT_EQ(retired.wait_for(0ms), std::future_status::timeout);
  tunnel.close();
  retired.get();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 30s) << "it does not wait for nobody";
}

TEST_F(RouteSwitch,
       a_retiring_edge_sends_an_answer_to_its_end_when_the_time_of_idle_clients_is_over) {
  start();
  constexpr std::size_t k_body = std::size_t{8} << 20U;  // more than the kernel keeps
  RecordingUpstream big(answer_with(std::string(k_body, 'x')));
  route("shop.apps.test", {at(big)});
  publish();
  Client slow;
  ASSERT_TRUE(slow.connect(edge_->http_port()));
  ASSERT_TRUE(slow.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_FALSE(slow.read_some().empty());
  auto& local = dynamic_cast<LocalEdge&>(*edge_);
  auto retired = std::async(std::launch::async, [&] { local.retire(50ms, 60s); });
  std::size_t read = 0;
  for (std::string bytes; !(bytes = slow.read_some()).empty();) {
    read += bytes.size();
    // Near the end slowly: the application's last byte has come, and the client has not read it.
    if (read > k_body - (std::size_t{3} << 20U)) std::this_thread::sleep_for(1ms);
  }
  EXPECT_GT(read, k_body - (std::size_t{64} << 10U)) << "what the first read took is not counted";
  slow.close();
  retired.get();
}

TEST_F(RouteSwitch, a_stop_does_not_wait_for_a_drain) {
  start();
  RecordingUpstream silent([](UpstreamSession& session) {
    Request request;
    if (session.read_request(request)) (void)session.read_some();
  });
  route("shop.apps.test", {at(silent, "vm-old")});
  publish();
  Client waiting;
  ASSERT_TRUE(waiting.connect(edge_->http_port()));
  ASSERT_TRUE(waiting.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_TRUE(eventually([&] { return silent.connections() == 1; }));
  auto drained = std::async(std::launch::async, [&] { return edge_->drain("vm-old", 600s); });
  dynamic_cast<LocalEdge&>(*edge_).end_drains();
  ASSERT_EQ(drained.wait_for(k_patience), std::future_status::ready);
  EXPECT_EQ(drained.get(), 1U);
}

TEST_F(RouteSwitch, a_removed_host_is_unknown_and_can_come_back) {
  start();
  RecordingUpstream upstream(answer_with("ok"));
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  for (int i = 0; i < 3; ++i) {
    route("shop.apps.test", {at(upstream)});
    publish();
    EXPECT_EQ(client.get("shop.apps.test").status, 200);
    table_.routes.clear();
    publish();
    EXPECT_EQ(client.get("shop.apps.test").status, 404);
  }
}

TEST_F(RouteSwitch, an_edge_that_ends_closes_everything) {
  start();
  std::atomic<int> open{0};
  RecordingUpstream upstream([&](UpstreamSession& session) {
    ++open;
    Request request;
    while (session.read_request(request)) {
    }
    --open;
  });
  route("shop.apps.test", {at(upstream)});
  publish();
  Client busy;
  Client idle;
  ASSERT_TRUE(busy.connect(edge_->http_port()));
  ASSERT_TRUE(idle.connect(edge_->http_port()));
  ASSERT_TRUE(busy.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_TRUE(eventually([&] { return open.load() == 1; }));
  edge_.reset();
  EXPECT_TRUE(busy.ended());
  EXPECT_TRUE(idle.ended());
  EXPECT_TRUE(eventually([&] { return open.load() == 0; }));
}

}  // namespace
}  // namespace atlasflow::edge
