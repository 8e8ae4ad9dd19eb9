// One application or one client that does not end what it says: everybody else is served as if it
// were not there, and it gets an answer that says what was wrong.
#include <atomic>
#include <csignal>
#include <iostream>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "edge/proxy/turn_watch.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;
using Clock = std::chrono::steady_clock;

class Stall : public EdgeTest {
 protected:
  // An application that says `piece` without end, as fast as it is read.
  static RecordingUpstream::Handler say_without_end(const std::string& piece) {
    return [piece](UpstreamSession& session) {
      Request request;
      if (!session.read_request(request)) return;
      std::string many;
      while (many.size() < 256 * 1024) many += piece;
      while (session.write(many)) {
      }
    };
  }

  // The slowest of some requests to the neighbour while the attack runs.
  [[nodiscard]] std::chrono::milliseconds slowest_neighbour() {
    auto slowest = Clock::duration::zero();
    for (int i = 0; i < 40; ++i) {
      Client client;
      EXPECT_TRUE(client.connect(edge_->http_port()));
      const auto start = Clock::now();
      EXPECT_EQ(client.get("calm.apps.test").status, 200);
      slowest = std::max(slowest, Clock::now() - start);
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(slowest);
  }
};

TEST_F(Stall, an_application_that_says_continue_without_end_is_a_502_and_harms_nobody) {
  start([](EdgeConfig& config) { config.workers = 1; });
  RecordingUpstream mad(say_without_end("HTTP/1.1 100 Continue\r\n\r\n"));
  RecordingUpstream hints(say_without_end("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"));
  RecordingUpstream calm(answer_with("calm"));
  route("mad.apps.test", {at(mad)});
  route("hints.apps.test", {at(hints, "vm-2")});
  route("calm.apps.test", {at(calm, "vm-3")});
  publish();
  const std::string waits = "Content-Length: 4\r\nExpect: 100-continue\r\n";
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\r\nHost: mad.apps.test\r\n\r\n"),
        std::string("GET / HTTP/1.0\r\nHost: hints.apps.test\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: hints.apps.test\r\n\r\n"),
        "POST / HTTP/1.1\r\nHost: mad.apps.test\r\n" + waits + "\r\ndata"}) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    ASSERT_TRUE(client.send(text));
    const ClientResponse response = client.receive();
    EXPECT_EQ(response.status, 502) << text;
    EXPECT_EQ(response.field("x-atlas-error"), "bad_response");
    EXPECT_NE(response.body.find("interim"), std::string::npos) << response.body;
    EXPECT_LE(response.interim.size(), 32U);
  }
  std::atomic<bool> end{false};
  std::vector<std::thread> attackers;
  for (int i = 0; i < 4; ++i) {
    attackers.emplace_back([&] {
      while (!end.load()) {
        Client client;
        if (client.connect(edge_->http_port())) (void)client.get("mad.apps.test");
      }
    });
  }
  EXPECT_LT(slowest_neighbour(), 2s) << "it was 5 s and more";
  const auto before_publish = Clock::now();
  publish();
  EXPECT_LT(Clock::now() - before_publish, 2s);
  route("mad.apps.test", {});
  publish();
  const auto before_drain = Clock::now();
  (void)edge_->drain("vm-1", 500ms);
  EXPECT_LT(Clock::now() - before_drain, 4s);
  end.store(true);
  for (auto& attacker : attackers) attacker.join();
}

TEST_F(Stall, a_few_interim_responses_are_passed_on) {
  start();
  RecordingUpstream app([](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      for (int i = 0; i < 20; ++i) session.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  });
  route("shop.apps.test", {at(app)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  for (int i = 0; i < 3; ++i) {
    const ClientResponse response = client.get("shop.apps.test");
    EXPECT_EQ(response.status, 200) << "each exchange has an allowance of its own";
    EXPECT_EQ(response.interim, std::vector<int>(20, 103));
  }
}

TEST_F(Stall, interim_responses_and_parts_of_a_head_do_not_extend_the_time_for_an_answer) {
  start([](EdgeConfig& config) { config.timeouts.response_head = 600ms; });
  const auto every_100_ms = [](const std::string& first, const std::string& piece) {
    return [=](UpstreamSession& session) {
      Request request;
      if (!session.read_request(request) || !session.write(first)) return;
      for (int i = 0; i < 30 && session.write(piece); ++i) std::this_thread::sleep_for(100ms);
    };
  };
  RecordingUpstream hints(every_100_ms("", "HTTP/1.1 103 Early Hints\r\n\r\n"));
  RecordingUpstream bytes(every_100_ms("HTTP/1.1 200 OK\r\nX-A: ", "a"));
  route("hints.apps.test", {at(hints)});
  route("bytes.apps.test", {at(bytes, "vm-2")});
  publish();
  for (const char* host : {"hints.apps.test", "bytes.apps.test"}) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    const auto started = Clock::now();
    EXPECT_EQ(client.get(host).status, 504) << host;
    EXPECT_LT(Clock::now() - started, 2500ms) << host;
  }
}

// Downloads, uploads and pipelined requests as fast as they go, each without end: a worker gives
// each its part of a turn.
TEST_F(Stall, transfers_without_end_leave_the_worker_to_the_others) {
  start([](EdgeConfig& config) { config.workers = 1; });
  RecordingUpstream endless([](UpstreamSession& session) {
    Request request;
    if (!session.read_head(request)) return;
    if (request.method == "POST") {
      while (!session.read_some().empty()) {
      }
      return;
    }
    session.write("HTTP/1.1 200 OK\r\n\r\n");
    const std::string many(256 * 1024, 'x');
    while (session.write(many)) {
    }
  });
  RecordingUpstream calm(answer_with("calm"));
  route("endless.apps.test", {at(endless)});
  route("calm.apps.test", {at(calm, "vm-2")});
  publish();
  std::atomic<bool> end{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    Client client;
    if (!client.connect(edge_->http_port())) return;
    client.send("GET / HTTP/1.1\r\nHost: endless.apps.test\r\n\r\n");
    while (!end.load() && !client.read_some().empty()) {
    }
  });
  threads.emplace_back([&] {
    Client client;
    if (!client.connect(edge_->http_port())) return;
    client.send(
        "POST / HTTP/1.1\r\nHost: endless.apps.test\r\nContent-Length: 99999999999999\r\n\r\n");
    const std::string many(256 * 1024, 'x');
    while (!end.load() && client.send(many)) {
    }
  });
  threads.emplace_back([&] {
    Client client;
    if (!client.connect(edge_->http_port())) return;
    std::string many;
    for (int i = 0; i < 1000; ++i) many += "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n";
    std::thread reader([&] {
      while (!client.read_some().empty()) {
      }
    });
    while (!end.load() && client.send(many)) {
    }
    ::shutdown(client.fd(), SHUT_RDWR);
    reader.join();
  });
  EXPECT_LT(slowest_neighbour(), 1s);
  end.store(true);
  for (auto& thread : threads) thread.join();
}

// A TLS 1.3 client may update its keys as often as it likes, and OpenSSL would read on within one
// call for as long as it does.
TEST_F(Stall, key_updates_without_end_end_the_connection) {
  start([](EdgeConfig& config) { config.workers = 1; });
  RecordingUpstream calm(answer_with("calm"));
  route("calm.apps.test", {at(calm)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("calm.apps.test", edge_->ca_certificate().string()));
  EXPECT_EQ(client.get("calm.apps.test").status, 200);
  ASSERT_EQ(SSL_key_update(client.tls(), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
  EXPECT_EQ(client.get("calm.apps.test").status, 200) << "a few are what the protocol is for";
  ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to what the edge has closed
  int updates = 0;
  while (updates < 5000 && SSL_key_update(client.tls(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
         SSL_do_handshake(client.tls()) == 1) {
    ++updates;
  }
  EXPECT_TRUE(updates < 5000 || client.get("calm.apps.test").status == 0);
  EXPECT_LT(slowest_neighbour(), 1s);
}

TEST_F(Stall, a_second_response_that_nobody_asked_for_reaches_nobody) {
  start([](EdgeConfig& config) { config.workers = 1; });
  std::atomic<int> connections{0};
  std::atomic<int> written{0};
  RecordingUpstream twice([&](UpstreamSession& session) {
    ++connections;
    Request request;
    while (session.read_request(request)) {
      const std::string body = request.path;
      session.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + body);
      std::this_thread::sleep_for(20ms);
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
      ++written;
    }
  });
  route("shop.apps.test", {at(twice)});
  publish();
  for (int i = 0; i < 10; ++i) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    const std::string path = "/" + std::to_string(i);
    const std::string fields = i % 2 == 0 ? "" : "Cookie: a=b\r\n";
    EXPECT_EQ(client.get("shop.apps.test", path, fields).body, path);
    // One that comes only once the next request is under way is that request's answer to everybody.
    ASSERT_TRUE(eventually([&] { return written.load() == i + 1; }));
    std::this_thread::sleep_for(60ms);
  }
  EXPECT_EQ(connections.load(), 10) << "none of them may be used again";
}

// ---- the watch ----------------------------------------------------------------------------------

void spin_until(const std::function<bool()>& holds) {
  while (!holds()) {
  }
}

TEST(TurnWatch, tells_a_step_that_burns_its_time_to_end_and_leaves_others_alone) {
  TurnClock clock;
  std::atomic<bool> done{false};
  std::atomic<bool> short_steps_were_told{false};
  std::atomic<bool> was_told{false};
  std::thread worker([&] {
    clock.attach();
    const auto until = Clock::now() + 900ms;
    while (Clock::now() < until) {
      clock.step();
      if (clock.overdue()) short_steps_were_told.store(true);
    }
    clock.rest();
    std::this_thread::sleep_for(500ms);
    clock.step();
    std::this_thread::sleep_for(700ms);  // waits, and burns nothing
    if (clock.overdue()) short_steps_were_told.store(true);
    clock.step();
    const auto patience = Clock::now() + k_patience;
    spin_until([&] { return clock.overdue() || Clock::now() > patience; });
    was_told.store(clock.overdue());
    clock.heed();
    spin_until([&] { return clock.overdue() || Clock::now() > patience; });
    EXPECT_TRUE(clock.overdue()) << "what goes on after it was told is told again, not aborted";
    clock.rest();
    done.store(true);
  });
  {
    const TurnWatch watch({&clock}, {300ms, 60'000ms});
    worker.join();
  }
  EXPECT_FALSE(short_steps_were_told.load());
  EXPECT_TRUE(was_told.load());
}

TEST(TurnWatchDeathTest, ends_the_process_when_a_step_does_not_end) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(std::cerr);
        spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", sink));
        TurnClock clock;
        const TurnWatch watch({&clock}, {200ms, 600ms});
        clock.attach();
        clock.step();
        spin_until([] { return false; });
      },
      "part=edge event=watchdog result=aborted worker=0.*does not end");
}

}  // namespace
}  // namespace atlasflow::edge
