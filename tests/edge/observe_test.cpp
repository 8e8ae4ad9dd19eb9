// What operators see of the edge: its figures and its access log.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "edge/observe/metrics.hpp"
#include "tests/edge/observe_fixture.hpp"

namespace atlasflow::edge {
namespace {

TEST_F(Observe, requests_are_counted_by_project_and_class_of_status) {
  serve();
  Client kept;
  ASSERT_TRUE(kept.connect(edge_->http_port()));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(kept.get("shop.apps.test").status, 200);
  EXPECT_EQ(kept.get("shop.apps.test", "/no").status, 404);
  EXPECT_EQ(kept.get("empty.apps.test").status, 503);
  EXPECT_EQ(get("nobody.apps.test").status, 404);
  EXPECT_EQ(get("shop.apps.test", "/cut").complete, false);
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"shop\",status=\"2xx\"} 4"));
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"shop\",status=\"4xx\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"shop\",status=\"5xx\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"_none\",status=\"4xx\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"unknown_host\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"no_instance\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"upstream_cut\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_request_duration_seconds_count 7"));
  EXPECT_TRUE(says("atlasflow_edge_request_duration_seconds_bucket{le=\"+Inf\"} 7"));
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
  EXPECT_TRUE(says("atlasflow_edge_connections_open{scheme=\"http\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_connections_total{scheme=\"http\"} 3"));
  EXPECT_TRUE(says("atlasflow_edge_response_body_bytes_total 24"));
  EXPECT_TRUE(says("atlasflow_edge_route_table_generation 1"));
  EXPECT_TRUE(says("atlasflow_edge_routed_hosts 2"));
  kept.close();
  EXPECT_TRUE(says("atlasflow_edge_connections_open{scheme=\"http\"} 0"));
}

TEST_F(Observe, a_request_under_way_and_one_that_its_client_left_are_seen) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(client.send("GET /silent HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 1"));
  EXPECT_TRUE(eventually([&] { return last().path == "/silent"; }));
  const linger reset{1, 0};
  ASSERT_EQ(::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  client.close();
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"shop\",status=\"none\"} 1"));
  EXPECT_TRUE(logs("shop", "\"error\":\"client_left\",\"phase\":\"wait\""));
}

TEST_F(Observe, connections_refused_and_applications_not_reached_are_counted) {
  serve([](EdgeConfig& config) {
    config.limits.connections_per_address = 2;
    config.timeouts.connect_retry = 1ms;
  });
  upstream_->stop();
  EXPECT_EQ(get("shop.apps.test").status, 502);
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"upstream_unreachable\"} 1"));
  std::vector<Client> clients(2);
  EXPECT_TRUE(says("atlasflow_edge_connections_open{scheme=\"http\"} 0"));
  for (Client& client : clients) {
    ASSERT_TRUE(client.connect(edge_->http_port()));
    EXPECT_EQ(client.get("nobody.apps.test").status, 404);
  }
  EXPECT_EQ(get("nobody.apps.test").status, 429);
  EXPECT_TRUE(says("atlasflow_edge_connections_shed_total{reason=\"address_limit\"} 1"));
  const std::string text = edge_->metrics();
  EXPECT_EQ(text.find("atlasflow_edge_upstream_connect_failures_total 0"), std::string::npos);
}

TEST_F(Observe, every_request_is_a_line_of_json) {
  serve();
  EXPECT_EQ(get("shop.apps.test", "/a", "User-Agent: t\"x\\\xC3\r\n").status, 200);
  const auto lines = lines_of("shop", 1);
  ASSERT_EQ(lines.size(), 1U);
  const nlohmann::json& line = lines[0];
  for (const auto& [name, value] :
       std::vector<std::pair<const char*, nlohmann::json>>{{"client", "127.0.0.1"},
                                                           {"scheme", "http"},
                                                           {"protocol", "HTTP/1.1"},
                                                           {"host", "shop.apps.test"},
                                                           {"method", "GET"},
                                                           {"path", "/a"},
                                                           {"status", 200},
                                                           {"request_bytes", 0},
                                                           {"response_bytes", 5},
                                                           {"instance", "vm-7"},
                                                           {"agent", "t\"x\\\u00C3"}}) {
    EXPECT_EQ(line.value(name, nlohmann::json()), value) << name;
  }
  EXPECT_EQ(line.at("time").get<std::string>().size(),
            std::string("2026-07-01T12:00:00.123Z").size());
  EXPECT_LE(line.at("sent_ms").get<double>(), line.at("first_byte_ms").get<double>());
  EXPECT_LE(line.at("first_byte_ms").get<double>(), line.at("duration_ms").get<double>());
  for (const char* name : {"error", "phase", "attempts", "client_request_id", "trace_id"}) {
    EXPECT_FALSE(line.contains(name)) << name;
  }
}

TEST_F(Observe, no_secret_of_a_request_is_written_down) {
  serve();
  EXPECT_EQ(get("shop.apps.test", "/a?token=hush1",
                "Authorization: Bearer hush2\r\nCookie: session=hush3\r\nReferer: "
                "https://x.test/?hush4\r\nX-Api-Key: hush5\r\nProxy-Authorization: hush6\r\n")
                .status,
            200);
  EXPECT_EQ(get("nobody.apps.test", "/a?token=hush7").status, 404);
  EXPECT_EQ(get("shop.apps.test", "/a?hush8", "Cookie: \x01hush9\r\n").status, 400);
  (void)lines_of("shop", 1);
  (void)lines_of("_none", 2);
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
  for (const auto& file : std::filesystem::directory_iterator(directory_ + "/access")) {
    EXPECT_EQ(text_of(file.path()).find("hush"), std::string::npos) << text_of(file.path());
  }
  EXPECT_EQ(edge_->metrics().find("hush"), std::string::npos);
}

// A request that could not be read has neither host nor method, but a client and an id.
TEST_F(Observe, what_is_malformed_is_counted_and_logged_too) {
  serve();
  const ClientResponse response = get("shop.apps.test", "/", "User-Agent: a\x01\x62\r\n");
  EXPECT_EQ(response.status, 400);
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  client.send("\x16\x03\x01 no http\r\n\r\n");
  EXPECT_EQ(client.receive().status, 400);
  const auto unread = lines_of("_none", 2);
  ASSERT_EQ(unread.size(), 2U);
  EXPECT_EQ(unread[0].at("request_id"), response.field("x-request-id"));
  EXPECT_EQ(unread[0].at("error"), "bad_request");
  EXPECT_EQ(unread[0].at("phase"), "request");
  EXPECT_EQ(unread[0].at("status"), 400);
  EXPECT_EQ(unread[0].at("client"), "127.0.0.1");

  // One whose head could is its project's.
  EXPECT_EQ(get("shop.apps.test", "/c", "Connection: cookie\r\n").status, 400);
  Client chunked;
  ASSERT_TRUE(chunked.connect(edge_->http_port()));
  chunked.send(
      "POST /b HTTP/1.1\r\nHost: shop.apps.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
  EXPECT_EQ(chunked.receive().status, 400);
  const auto own = lines_of("shop", 2);
  ASSERT_EQ(own.size(), 2U);
  EXPECT_EQ(own[0].at("path"), "/c");
  EXPECT_EQ(own[1].at("error"), "bad_request");
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"bad_request\"} 4"));
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"_none\",status=\"4xx\"} 2"));
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"shop\",status=\"4xx\"} 2"));
}

TEST_F(Observe, the_edges_id_goes_to_the_application_to_the_client_and_into_the_log) {
  serve();
  const std::string long_id(65, 'a');
  const ClientResponse response = get("shop.apps.test", "/", "X-Request-Id: theirs.1-a_B\r\n");
  EXPECT_EQ(response.field("x-request-id"), last().fields["x-request-id"]);
  for (const std::string& id : {std::string("a b"), std::string("\"},{"), long_id}) {
    EXPECT_EQ(get("shop.apps.test", "/", "X-Request-Id: " + id + "\r\n").status, 200);
  }
  const ClientResponse own = get("shop.apps.test", "/own-id");
  EXPECT_EQ(own.field("x-request-id"), "the-apps") << "what the application says stays";
  const auto lines = lines_of("shop", 5);
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_EQ(lines[0].at("client_request_id"), "theirs.1-a_B");
  EXPECT_NE(lines[0].at("request_id"), "theirs.1-a_B");
  for (std::size_t i = 1; i < 5; ++i) EXPECT_FALSE(lines[i].contains("client_request_id")) << i;
  EXPECT_EQ(lines[4].at("request_id"), last().fields["x-request-id"]);
}

TEST_F(Observe, valid_traces_pass_through_and_the_log_has_their_ids) {
  serve();
  const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const std::vector<std::pair<std::string, bool>> k_parents = {
      {"00-" + trace + "-00f067aa0ba902b7-01", true},
      {"cc-" + trace + "-00f067aa0ba902b7-01-later", true},
      {"00-" + trace + "-00f067aa0ba902b7-01-later", false},
      {"00-" + trace + "-0000000000000000-01", false},
      {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
      {"ff-" + trace + "-00f067aa0ba902b7-01", false},
      {"00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
      {"00-x", false},
  };
  for (const auto& [parent, valid] : k_parents) {
    EXPECT_EQ(
        get("shop.apps.test", "/", "Traceparent: " + parent + "\r\nTracestate: a=b,c=d\r\n").status,
        200);
    EXPECT_EQ(last().fields["traceparent"], valid ? parent : "") << parent;
    EXPECT_EQ(last().fields["tracestate"], valid ? "a=b,c=d" : "") << parent;
  }
  const auto lines = lines_of("shop", k_parents.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].value("trace_id", ""), k_parents[i].second ? trace : "") << i;
  }
}

TEST_F(Observe, a_websocket_is_one_line_when_it_ends) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(
      client.send("GET /ws HTTP/1.1\r\nHost: shop.apps.test\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nping"));
  std::string all;
  while (all.find("<ping>") == std::string::npos) {
    const std::string more = client.read_some();
    ASSERT_FALSE(more.empty()) << all;
    all += more;
  }
  EXPECT_NE(all.find("X-Request-Id: " + last().fields["x-request-id"]), std::string::npos) << all;
  EXPECT_TRUE(log_of("shop").empty()) << "it is not over";
  client.close();
  const auto lines = lines_of("shop", 1);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("protocol"), "websocket");
  EXPECT_EQ(lines[0].at("status"), 101);
  EXPECT_EQ(lines[0].at("request_bytes"), 4);
  EXPECT_EQ(lines[0].at("response_bytes"), 6);
  EXPECT_TRUE(says("atlasflow_edge_protocol_requests_total{protocol=\"websocket\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_request_duration_seconds_count 0"));
}

TEST_F(Observe, a_request_that_the_edges_end_cuts_does_not_blame_its_client) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(client.send("GET /silent HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  EXPECT_TRUE(eventually([&] { return last().path == "/silent"; }));
  edge_.reset();
  EXPECT_NE(log_of("shop").find("\"error\":\"edge_stopped\",\"phase\":\"wait\""), std::string::npos)
      << log_of("shop");
}

TEST_F(Observe, the_line_of_an_error_page_has_its_request_id_and_its_code) {
  serve();
  const ClientResponse response = get("empty.apps.test");
  EXPECT_EQ(response.status, 503);
  EXPECT_TRUE(logs("shop", "\"request_id\":\"" + response.field("x-request-id") + "\""));
  EXPECT_TRUE(logs("shop", "\"error\":\"no_instance\",\"phase\":\"request\""));
  EXPECT_FALSE(get("shop.apps.test", "/cut").complete);
  EXPECT_TRUE(logs("shop", "\"error\":\"upstream_cut\",\"phase\":\"response\""));
}

TEST_F(Observe, a_log_that_cannot_be_written_costs_nobody_an_answer) {
  std::ofstream(directory_ + "/file") << "no folder";
  serve([&](EdgeConfig& config) { config.access_log_dir = directory_ + "/file"; });
  EXPECT_EQ(get("shop.apps.test").status, 200);
}

TEST_F(Observe, lines_that_find_no_file_are_counted) {
  serve();
  std::filesystem::create_directory(directory_ + "/access/shop.http.log");
  EXPECT_EQ(get("shop.apps.test").status, 200);
  EXPECT_TRUE(says("atlasflow_edge_access_log_lines_dropped_total 1"));
}

// Whatever is put in the file's place, with a reader that never reads or without one.
TEST_F(Observe, a_pipe_in_the_logs_place_holds_up_nobody) {
  serve();
  const std::string pipe = directory_ + "/access/shop.http.log";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(get("shop.apps.test").status, 200);
  EXPECT_TRUE(says("atlasflow_edge_access_log_lines_dropped_total 1"));
  const FileDescriptor reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reader.valid());
  EXPECT_EQ(get("shop.apps.test").status, 200);
  EXPECT_TRUE(says("atlasflow_edge_access_log_lines_dropped_total 2"));
  EXPECT_EQ(get("nobody.apps.test").status, 404);
  (void)lines_of("_none", 1);
}

TEST_F(Observe, hosts_that_nobody_has_make_no_label_however_many_they_are) {
  serve();
  EXPECT_EQ(get("nobody.apps.test").status, 404);
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
  const auto series = [&] {
    const std::string text = edge_->metrics();
    return std::count(text.begin(), text.end(), '\n');
  };
  const auto before = series();
  constexpr int k_hosts = 100'000;
  constexpr int k_at_once = 50;
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  for (int i = 0; i < k_hosts; i += k_at_once) {
    std::string requests;
    for (int j = i; j < i + k_at_once; ++j) {
      requests += "HEAD / HTTP/1.1\r\nHost: h" + std::to_string(j) + ".test\r\n\r\n";
    }
    ASSERT_TRUE(client.send(requests));
    for (int j = 0; j < k_at_once; ++j) ASSERT_EQ(client.receive(true).status, 404);
  }
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"_none\",status=\"4xx\"} " +
                   std::to_string(k_hosts + 1)));
  EXPECT_EQ(series(), before);
}

// The figures know so many projects; each has its own log all the same.
TEST_F(Observe, a_project_beyond_the_labels_bound_has_its_log) {
  serve();
  for (int i = 0; i < 1100; ++i) {
    const std::string name = "p" + std::to_string(i);
    table_.routes.push_back({name + ".apps.test", name, "d-1", {at(*upstream_)}, {}});
  }
  publish();
  EXPECT_EQ(get("p1099.apps.test", "/mine").status, 200);
  const auto lines = lines_of("p1099", 1);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("path"), "/mine");
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"_other\",status=\"2xx\"} 1"));
}

TEST(ProjectNumbers, are_bounded_and_never_change) {
  ProjectNumbers numbers;
  const auto first = numbers.number_of("shop");
  EXPECT_GT(first, ProjectNumbers::k_other);
  for (int i = 0; i < 2000; ++i) (void)numbers.number_of("p" + std::to_string(i));
  EXPECT_EQ(numbers.number_of("shop"), first);
  EXPECT_EQ(numbers.number_of("p1999"), ProjectNumbers::k_other);
  EXPECT_EQ(numbers.names().size(), ProjectNumbers::k_max);
  EXPECT_EQ(numbers.names()[first], "shop");
}

TEST(Metrics, buckets_are_cumulative_and_labels_cannot_break_out) {
  auto worker = std::make_unique<WorkerMetrics>();
  worker->count_request(2, 200, 1, 900, "");
  worker->count_request(2, 200, 2, 1'000, "");
  worker->count_request(2, 999, 1, 60'000'000, "");
  worker->count_request(2, 504, 1, 2'000'000, "upstream_timeout");
  worker->count_request(2, 101, k_websocket, 900'000'000, "never heard of");
  const std::string text = prometheus_text({.workers = {worker.get()},
                                            .projects = {"_none", "_other", "a\"b\\\n"},
                                            .generation = 7,
                                            .hosts = 3,
                                            .certificates_end_at_s = {},
                                            .access_lines_lost = 5});
  for (const char* line : {
           "atlasflow_edge_requests_total{project=\"a\\\"b\\\\\\n\",status=\"2xx\"} 2\n",
           "atlasflow_edge_requests_total{project=\"a\\\"b\\\\\\n\",status=\"other\"} 1\n",
           "atlasflow_edge_request_duration_seconds_bucket{le=\"0.001\"} 2\n",
           "atlasflow_edge_request_duration_seconds_bucket{le=\"1\"} 2\n",
           "atlasflow_edge_request_duration_seconds_bucket{le=\"2.5\"} 3\n",
           "atlasflow_edge_request_duration_seconds_bucket{le=\"10\"} 3\n",
           "atlasflow_edge_request_duration_seconds_bucket{le=\"+Inf\"} 4\n",
           "atlasflow_edge_request_duration_seconds_sum 62.0019\n",
           "atlasflow_edge_errors_total{code=\"upstream_timeout\"} 1\n",
           "atlasflow_edge_errors_total{code=\"other\"} 1\n",
           "atlasflow_edge_protocol_requests_total{protocol=\"HTTP/1.1\"} 3\n",
           "atlasflow_edge_protocol_requests_total{protocol=\"websocket\"} 1\n",
           "atlasflow_edge_first_byte_seconds_count 0\n",
           "atlasflow_edge_access_log_lines_dropped_total 5\n",
       }) {
    EXPECT_NE(text.find(line), std::string::npos) << line << " in\n" << text;
  }
}

}  // namespace
}  // namespace atlasflow::edge
