// Applications that speak HTTP/2 without TLS: what reaches them, what comes back, and what happens
// when they refuse, break off or leave.
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "tests/edge/h2c_app.hpp"
#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_host = "grpc.apps.test";
const H2cFieldList k_ok = {{":status", "200"}, {"content-type", "application/grpc"}};
const H2cFieldList k_done = {{"grpc-status", "0"}};
const Http2Client::Fields k_grpc = {{"content-type", "application/grpc"}, {"te", "trailers"}};

class H2c : public EdgeTest {
 protected:
  void serve(H2cAppConnection::Script script, const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    const auto on_close = script.on_close;
    script.on_close = [this, on_close](H2cRequest& request) {
      if (on_close) on_close(request);
      const std::lock_guard lock(mutex_);
      closed_.push_back(request);
    };
    app_ = std::make_unique<RecordingUpstream>(speak_h2c(std::move(script)));
    lead_to(*app_, "vm-1");
  }
  void lead_to(const RecordingUpstream& app, const std::string& vm_id) {
    route(k_host, {at(app, vm_id)});
    for (Route& each : table_.routes) each.protocol = AppProtocol::h2c;
    publish();
  }
  // Those that are over, in the order of their ends.
  std::vector<H2cRequest> closed() {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  H2cRequest first_closed() {
    EXPECT_TRUE(eventually([&] { return !closed().empty(); }));
    const auto all = closed();
    return all.empty() ? H2cRequest{} : all.front();
  }
  void TearDown() override {
    edge_.reset();
    app_.reset();
  }

  std::mutex mutex_;
  std::vector<H2cRequest> closed_;
  std::unique_ptr<RecordingUpstream> app_;
};

void echo(H2cAppConnection& app, H2cRequest& request) {
  app.answer(request.id, k_ok, request.body, k_done);
}

TEST_F(H2c, a_grpc_call_passes_with_its_trailers_and_nothing_of_a_hop) {
  serve({.on_end = echo});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1, {{"content-type", "application/grpc+proto"},
                  {"te", "trailers"},
                  {"x-forwarded-for", "6.6.6.6"},
                  {"grpc-timeout", "10S"},
                  {"x-own", "kept"}});
  client.send_data(1, "hello", false);
  client.send_fields(1, {{"x-checksum", "7"}}, true);
  Http2Response& response = client.response(1);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(response.fields["trailer grpc-status"], "0");
  EXPECT_TRUE(response.ended);
  EXPECT_FALSE(response.reset.has_value());
  const H2cRequest seen = first_closed();
  EXPECT_EQ(seen.body, "hello");
  EXPECT_EQ(seen.field(":method"), "POST");
  EXPECT_EQ(seen.field(":authority"), k_host);
  EXPECT_EQ(seen.field(":scheme"), "http");
  EXPECT_EQ(seen.field("te"), "trailers");
  EXPECT_EQ(seen.field("grpc-timeout"), "10S");
  EXPECT_EQ(seen.field("x-own"), "kept");
  EXPECT_EQ(seen.field("x-forwarded-for"), "127.0.0.1");
  EXPECT_EQ(seen.field("x-forwarded-proto"), "https");
  EXPECT_EQ(seen.field("host"), "");
  EXPECT_EQ(seen.field("transfer-encoding"), "");
  EXPECT_EQ(seen.trailers, (H2cFieldList{{"x-checksum", "7"}}));
  EXPECT_EQ(seen.closed, std::optional<std::uint32_t>(NGHTTP2_NO_ERROR));
}

TEST_F(H2c, an_answer_of_trailers_only_stays_one) {
  serve({.on_end = [](H2cAppConnection& app, H2cRequest& request) {
    app.answer_head_only(
        request.id,
        {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "12"}});
  }});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1, k_grpc);
  client.send_data(1, "", true);
  Http2Response& response = client.response(1);
  EXPECT_EQ(response.fields["grpc-status"], "12");
  EXPECT_EQ(response.body, "");
  EXPECT_TRUE(response.ended);
}

// An answer is whole with the frame that ends it, though no field is in that; and one without a
// body may have trailers.
TEST_F(H2c, an_answer_ends_with_its_trailers_though_none_is_there) {
  serve({.on_end =
             [](H2cAppConnection& app, H2cRequest& request) {
               if (request.field(":path") == "/") {
                 app.answer(request.id, {{":status", "200"}, {"content-length", "2"}}, "ok");
               } else {
                 app.answer(request.id, {{":status", "200"}, {"content-length", "0"}}, "", k_done);
               }
             },
         .always_trailers = true});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/");
  EXPECT_EQ(client.response(1).body, "ok");
  EXPECT_TRUE(client.response(1).ended);
  client.get(3, "/empty");
  EXPECT_EQ(client.response(3).fields["trailer grpc-status"], "0");
}

TEST_F(H2c, clients_of_http1_reach_it_too) {
  serve({.on_end = [](H2cAppConnection& app, H2cRequest& request) {
    if (request.field(":path") == "/early") app.interim(request.id, {{":status", "103"}});
    app.answer(request.id, {{":status", "200"}, {"x-method", request.field(":method")}},
               request.body, {{"x-sum", "3"}});
  }});
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  client.send("POST / HTTP/1.1\r\nHost: " + std::string(k_host) +
              "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n");
  ClientResponse response = client.receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "abcde");
  EXPECT_EQ(first_closed().trailers, (H2cFieldList{{"x-t", "1"}}));
  client.send("POST / HTTP/1.1\r\nHost: " + std::string(k_host) +
              "\r\nContent-Length: 3\r\n\r\nxyz");
  EXPECT_EQ(client.receive().body, "xyz");
  EXPECT_EQ(closed().back().field("content-length"), "3");
  client.send("HEAD / HTTP/1.1\r\nHost: " + std::string(k_host) + "\r\n\r\n");
  response = client.receive(true);
  EXPECT_EQ(response.field("x-method"), "HEAD");
  EXPECT_EQ(response.body, "");
  response = client.get(k_host, "/early");
  EXPECT_EQ(response.interim, std::vector<int>{103});
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(app_->connections(), 1);
}

TEST_F(H2c, a_websocket_is_told_that_there_are_none) {
  serve({.on_end = echo});
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const auto response = client.get(k_host, "/", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
  EXPECT_EQ(response.status, 501);
  EXPECT_EQ(response.field("x-atlas-error"), "no_websocket");
}

TEST_F(H2c, many_streams_share_a_connection_and_its_limit_of_streams_is_kept) {
  std::atomic<std::size_t> most{0};
  serve({.on_end =
             [&](H2cAppConnection& app, H2cRequest& request) {
               most = std::max(most.load(), app.open());
               echo(app, request);
             },
         .streams_max = 3},
        [](EdgeConfig& config) { config.workers = 1; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  for (std::uint32_t id = 1; id < 60; id += 2) {
    client.post(id, k_grpc);
    client.send_data(id, std::to_string(id), true);
  }
  for (std::uint32_t id = 1; id < 60; id += 2) {
    EXPECT_EQ(client.response(id).body, std::to_string(id));
  }
  EXPECT_LE(most.load(), 3U);
  EXPECT_LT(app_->connections(), 30);
}

TEST_F(H2c, what_the_client_cancels_is_cancelled_at_the_application) {
  std::atomic<bool> begun{false};
  serve({.on_head = [&](H2cAppConnection& app, H2cRequest& request) {
    app.begin_answer(request.id, k_ok);
    begun = true;
  }});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1, k_grpc);
  ASSERT_TRUE(client.read_until([&] { return client.responses()[1].status == 200; }));
  client.send_frame(NGHTTP2_RST_STREAM, 0, 1, Http2Client::number(NGHTTP2_CANCEL));
  EXPECT_EQ(first_closed().closed, std::optional<std::uint32_t>(NGHTTP2_CANCEL));
}

TEST_F(H2c, what_the_application_resets_is_said_to_the_client) {
  serve({.on_end = [](H2cAppConnection& app, H2cRequest& request) {
    if (request.body == "late") app.begin_answer(request.id, k_ok);
    app.reset(request.id, NGHTTP2_CANCEL);
  }});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1, k_grpc);
  client.send_data(1, "early", true);
  EXPECT_EQ(client.response(1).fields["grpc-status"], "1");
  EXPECT_EQ(client.responses()[1].fields["x-atlas-error"], "upstream_closed");
  client.get(3);
  EXPECT_EQ(client.response(3).status, 502);
}

TEST_F(H2c, an_answer_that_the_application_cuts_is_cut_with_its_code) {
  std::atomic<bool> cut{false};
  H2cAppConnection* app_of = nullptr;
  serve({.on_head =
             [&](H2cAppConnection& app, H2cRequest& request) {
               if (request.field(":path") == "/cut") {
                 app.reset(1, NGHTTP2_ENHANCE_YOUR_CALM);
                 app.answer(request.id, k_ok, "", k_done);
                 return;
               }
               app_of = &app;
               app.begin_answer(request.id, k_ok);
             }},
        [](EdgeConfig& config) { config.workers = 1; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1, k_grpc);
  ASSERT_TRUE(client.read_until([&] { return client.responses()[1].status == 200; }));
  client.get(3, "/cut");
  EXPECT_EQ(client.response(1).reset, std::optional<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_EQ(client.response(3).fields["trailer grpc-status"], "0");
}

// None of the two is repeatable by its method: the application says itself that it has not looked.
TEST_F(H2c, a_post_that_was_refused_is_sent_again) {
  std::atomic<int> refusals{0};
  serve({.on_end = [&](H2cAppConnection& app, H2cRequest& request) {
    if (refusals++ == 0) {
      app.reset(request.id, NGHTTP2_REFUSED_STREAM);
    } else {
      echo(app, request);
    }
  }});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1, k_grpc);
  client.send_data(1, "once", true);
  EXPECT_EQ(client.response(1).body, "once");
  EXPECT_EQ(refusals.load(), 2);
}

TEST_F(H2c, streams_beyond_a_goaway_go_to_another_connection_and_those_before_it_are_finished) {
  std::atomic<int> connections{0};
  std::atomic<int> served{0};
  serve({.on_head =
             [&](H2cAppConnection& app, H2cRequest& request) {
               if (request.id == 1) ++connections;
               if (connections == 1 && request.id == 5) app.goaway(3);
             },
         .on_end =
             [&](H2cAppConnection& app, H2cRequest& request) {
               if (connections == 1 && request.id > 3) return;  // never looked at
               ++served;
               echo(app, request);
             }},
        [](EdgeConfig& config) { config.workers = 1; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  for (std::uint32_t id = 1; id <= 19; id += 2) {
    client.post(id, k_grpc);
    client.send_data(id, "n" + std::to_string(id), true);
  }
  for (std::uint32_t id = 1; id <= 19; id += 2) {
    EXPECT_EQ(client.response(id).body, "n" + std::to_string(id));
  }
  EXPECT_EQ(served.load(), 10);
  EXPECT_EQ(app_->connections(), 2);
}

TEST_F(H2c, one_client_that_does_not_read_holds_up_no_other) {
  serve({.on_end =
             [](H2cAppConnection& app, H2cRequest& request) {
               const bool large = request.field(":path") == "/large";
               app.answer(request.id, k_ok, std::string(large ? 8'000'000 : 10, 'x'), k_done);
             }},
        [](EdgeConfig& config) { config.workers = 1; });
  Http2Client stalled;
  ASSERT_TRUE(stalled.connect(*edge_, k_host));
  stalled.keep_windows_shut();
  // More of them than could together keep the half of the connection's window.
  for (std::uint32_t id = 1; id < 140; id += 2) stalled.get(id, "/large");
  Http2Client other;
  ASSERT_TRUE(other.connect(*edge_, k_host));
  for (std::uint32_t id = 1; id < 40; id += 2) {
    other.get(id, id % 8 == 1 ? "/large" : "/");
    const std::size_t bytes = id % 8 == 1 ? 8'000'000 : 10;
    EXPECT_EQ(other.response(id).body.size(), bytes);
    EXPECT_EQ(other.responses()[id].fields["trailer grpc-status"], "0");
  }
  EXPECT_EQ(app_->connections(), 1);
}

// The client's windows are opened by what the application takes, and by nothing else.
TEST_F(H2c, an_upload_that_the_application_does_not_take_is_not_taken_of_the_client) {
  serve({.on_head = [](H2cAppConnection&, H2cRequest&) {}, .takes_bodies = false},
        [](EdgeConfig& config) { config.workers = 1; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1, k_grpc);
  const std::string piece(16'000, 'x');
  for (int i = 0; i < 16; ++i) client.send_data(1, piece, false);
  client.connection().set_patience(700ms);
  EXPECT_FALSE(client.read_until([] { return false; }));
  // The application's window, and what the edge holds: never what would take the rest.
  EXPECT_LE(client.window_opened(1), 160'000U);
}

TEST_F(H2c, an_application_that_speaks_http1_is_named) {
  start();
  app_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
    (void)session.read_some();
    session.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  });
  lead_to(*app_, "vm-1");
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const auto response = client.get(k_host);
  EXPECT_EQ(response.status, 502);
  EXPECT_EQ(response.field("x-atlas-error"), "bad_response");
  EXPECT_NE(response.body.find("app_protocol"), std::string::npos) << response.body;
}

TEST_F(H2c, answers_that_break_the_rules_are_not_passed_on) {
  const std::vector<H2cFieldList> answers = {
      {{":status", "200"}, {"content-length", "9"}},
      {{":status", "200"}, {"connection", "close"}},
      {{":status", "200"}, {"x-big", std::string(40'000, 'x')}},
      {{"x-no", "status"}},
      {{":status", "101"}}};
  std::atomic<std::size_t> next{0};
  serve({.on_end = [&](H2cAppConnection& app, H2cRequest& request) {
    app.answer(request.id, answers.at(next++), "");
  }});
  for (std::size_t i = 0; i < answers.size(); ++i) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    EXPECT_EQ(client.get(k_host).status, 502) << i;
  }
}

TEST_F(H2c, a_connection_that_is_lost_loses_only_what_the_application_may_have_seen) {
  std::atomic<int> requests{0};
  serve({.on_end = [&](H2cAppConnection& app, H2cRequest& request) {
    if (++requests % 2 == 0) {
      app.hang_up();
    } else {
      echo(app, request);
    }
  }});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  EXPECT_EQ(client.response(1).status, 200);
  client.get(3);  // lost on a connection that had served, and repeatable
  EXPECT_EQ(client.response(3).status, 200);
  client.post(5, k_grpc);
  client.send_data(5, "x", true);
  EXPECT_EQ(client.response(5).fields["grpc-status"], "14");
}

// As of an application that does not listen yet, behind something that accepts for it.
TEST_F(H2c, a_connection_on_which_no_settings_come_is_left_for_another) {
  start([](EdgeConfig& config) {
    config.workers = 1;
    config.timeouts.connect = 200ms;
  });
  const auto made = std::make_shared<std::atomic<int>>(0);
  app_ = std::make_unique<RecordingUpstream>(
      [made, speak = speak_h2c({.on_end = echo})](UpstreamSession& session) {
        if ((*made)++ > 0) return speak(session);
        while (!session.read_some().empty()) {
        }
      });
  lead_to(*app_, "vm-1");
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  EXPECT_EQ(client.response(1).status, 200);
  EXPECT_EQ(made->load(), 2);
}

// A path that was lost without a word, as calls with deadlines of their own meet it.
TEST_F(H2c, a_connection_that_says_nothing_while_calls_run_out_gets_no_more_of_them) {
  start([](EdgeConfig& config) { config.workers = 1; });
  const auto made = std::make_shared<std::atomic<int>>(0);
  app_ = std::make_unique<RecordingUpstream>(
      [made, speak = speak_h2c({.on_end = echo}),
       hush = speak_h2c({.on_end = [](H2cAppConnection&, H2cRequest&) {}})](
          UpstreamSession& session) { return (*made)++ == 0 ? hush(session) : speak(session); });
  lead_to(*app_, "vm-1");
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  auto fields = k_grpc;
  fields.emplace_back("grpc-timeout", "1100m");
  for (std::uint32_t id : {1U, 3U}) {
    client.post(id, fields);
    client.send_data(id, "", true);
    EXPECT_EQ(client.response(id).fields["grpc-status"], "4");
    EXPECT_EQ(made->load(), 1) << "one alone may have been slow";
  }
  client.get(5);
  EXPECT_EQ(client.response(5).status, 200);
  EXPECT_EQ(made->load(), 2);
}

TEST_F(H2c, a_switch_under_load_fails_no_call) {
  serve({.on_end = echo}, [](EdgeConfig& config) { config.workers = 2; });
  std::atomic<bool> over{false};
  std::atomic<int> failed{0};
  std::atomic<int> done{0};
  std::vector<std::thread> clients;
  const std::uint16_t port = edge_->https_port();
  const std::string ca = edge_->ca_certificate().string();
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      Http2Client client;
      if (!client.connect(port, ca, k_host)) ++failed;
      for (std::uint32_t id = 1; !over; id += 2) {
        client.post(id, k_grpc);
        client.send_data(id, "call", true);
        if (client.response(id).fields["trailer grpc-status"] != "0") ++failed;
        ++done;
      }
    });
  }
  for (int i = 2; i < 22 || done <= 20; ++i) {
    auto next = std::make_unique<RecordingUpstream>(speak_h2c({.on_end = echo}));
    const std::string before = "vm-" + std::to_string(i - 1);
    lead_to(*next, "vm-" + std::to_string(i));
    EXPECT_EQ(edge_->drain(before, 5s), 0U);
    app_ = std::move(next);  // the one before ends
  }
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed.load(), 0);
  EXPECT_GT(done.load(), 20);
}

// What the edge answers itself, as a gRPC client understands it; logs and figures have the status.
TEST_F(H2c, own_answers_are_shaped_for_grpc) {
  serve({.on_head = [](H2cAppConnection&, H2cRequest&) {}});
  route("none.apps.test", {}, "it was stopped: 100%");
  publish();
  struct Case {
    const char* host;
    Http2Client::Fields more;
    const char* grpc_status;
    const char* error;
    const char* said;
  };
  for (const auto& [host, more, grpc_status, error, said] : std::initializer_list<Case>{
           {"none.apps.test", {}, "14", "no_instance", "stopped: 100%25"},
           {"unknown.apps.test", {}, "12", "unknown_host", "No deployment answers"},
           {k_host, {{"grpc-timeout", "300m"}}, "4", "upstream_timeout", "grpc-timeout"}}) {
    Http2Client client;
    ASSERT_TRUE(client.connect(*edge_, host));
    auto fields = k_grpc;
    fields.insert(fields.end(), more.begin(), more.end());
    client.post(1, fields);
    client.send_data(1, "x", true);
    Http2Response& response = client.response(1);
    EXPECT_EQ(response.status, 200) << host;
    EXPECT_EQ(response.fields["content-type"], "application/grpc");
    EXPECT_EQ(response.fields["grpc-status"], grpc_status) << host;
    EXPECT_EQ(response.fields["x-atlas-error"], error);
    EXPECT_NE(response.fields["grpc-message"].find(said), std::string::npos)
        << response.fields["grpc-message"];
    EXPECT_EQ(response.body, "");
    EXPECT_TRUE(response.ended);
  }
  EXPECT_NE(edge_->metrics().find("atlasflow_edge_errors_total{code=\"upstream_timeout\"} 1\n"),
            std::string::npos);
}

}  // namespace
}  // namespace atlasflow::edge
