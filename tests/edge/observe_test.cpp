// What operators see of the edge: its figures and its access log.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>

#include "edge/observe/access_log.hpp"
#include "edge/observe/metrics.hpp"
#include "tests/edge/edge_fixture.hpp"
#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Observe : public EdgeTest {
 protected:
  void serve(const std::function<void(EdgeConfig&)>& change = {}) {
    start([&](EdgeConfig& config) {
      config.access_log_dir = directory_ + "/access";
      if (change) change(config);
    });
    upstream_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
      Request request;
      while (session.read_request(request)) {
        if (request.path == "/cut") {
          session.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
          std::this_thread::sleep_for(100ms);  // a reset takes with it what has not been read
          session.reset();
          return;
        }
        if (request.path == "/silent") continue;
        session.write("HTTP/1.1 " + std::string(request.path == "/no" ? "404 No" : "200 OK") +
                      "\r\nContent-Length: 5\r\n\r\nhello");
      }
    });
    route("shop.apps.test", {at(*upstream_, "vm-7")});
    route("empty.apps.test", {});
    publish();
  }

  ClientResponse get(const std::string& host, const std::string& path = "/",
                     const std::string& fields = "") {
    Client client;
    if (!client.connect(edge_->http_port())) return {};
    return client.get(host, path, fields);
  }
  // Waits for the figure: a request is counted when it is over, which its client may see before.
  [[nodiscard]] bool says(const std::string& line) {
    return eventually([&] { return edge_->metrics().find(line + "\n") != std::string::npos; });
  }
  [[nodiscard]] std::string log_of(const std::string& project) const {
    return text_of(directory_ + "/access/" + project + ".http.log");
  }
  [[nodiscard]] bool logs(const std::string& project, const std::string& text) {
    return eventually([&] { return log_of(project).find(text) != std::string::npos; });
  }

  std::unique_ptr<RecordingUpstream> upstream_;
};

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

TEST_F(Observe, every_request_is_a_line_of_json_without_its_query) {
  serve();
  EXPECT_EQ(get("shop.apps.test", "/a?token=secret", "User-Agent: t\"x\\\xC3\x01\r\n").status, 400)
      << "a control character";
  const ClientResponse response =
      get("shop.apps.test", "/a?token=secret", "User-Agent: t\"x\\\xC3\r\n");
  EXPECT_EQ(response.status, 200);
  ASSERT_TRUE(logs("shop", "\"path\":\"/a\""));
  const std::string line = log_of("shop");
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
  EXPECT_EQ(line.find("secret"), std::string::npos) << line;
  for (const char* part :
       {"{\"time\":\"20", "\"client\":\"127.0.0.1\"", "\"scheme\":\"http\"",
        "\"protocol\":\"HTTP/1.1\"", "\"host\":\"shop.apps.test\"", "\"method\":\"GET\"",
        "\"status\":200",
        "\"duration_ms\":", "\"sent_ms\":", "\"first_byte_ms\":", "\"request_bytes\":0",
        "\"response_bytes\":5", "\"instance\":\"vm-7\"", "\"agent\":\"t\\\"x\\\\\\u00c3\"}"}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
  }
  EXPECT_EQ(line.find("\"error\""), std::string::npos) << line;
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

TEST_F(Observe, http2_is_seen_as_such) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, "shop.apps.test"));
  client.get(1, "/h2");
  EXPECT_EQ(client.response(1).status, 200);
  EXPECT_TRUE(logs("shop", "\"scheme\":\"https\",\"protocol\":\"HTTP/2\""));
  EXPECT_TRUE(says("atlasflow_edge_connections_open{scheme=\"https\"} 1"));
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

TEST_F(Observe, a_log_keeps_its_newest_lines_and_its_offsets) {
  serve([](EdgeConfig& config) { config.access_log_bytes = 16 << 10; });
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const std::string agent(900, 'a');
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(client.get("shop.apps.test", "/" + std::to_string(i), "User-Agent: " + agent + "\r\n")
                  .status,
              200);
  }
  ASSERT_TRUE(logs("shop", "\"path\":\"/59\""));
  EXPECT_EQ(client.get("shop.apps.test", "/last").status, 200);
  ASSERT_TRUE(logs("shop", "\"path\":\"/last\""));
  const std::string text = log_of("shop");
  EXPECT_GT(text.size(), std::size_t{60} * 900) << "what is freed leaves the offsets as they were";
  EXPECT_EQ(text.find("\"path\":\"/0\""), std::string::npos) << "the oldest have gone";
}

TEST(AccessRing, gives_back_what_was_put_in_order_and_drops_when_full) {
  AccessRing ring(4096);
  const std::string long_text(300, 'x');
  std::uint64_t put = 0;
  std::uint64_t taken = 0;
  std::uint64_t dropped = 0;
  for (int round = 0; round < 1000; ++round) {
    // Of every length, so that the end of the ring is met in every way.
    for (int i = 0; i < 1 + round % 17; ++i) {
      AccessRecord record;
      record.request_bytes = put;
      const std::string_view text =
          std::string_view(long_text).substr(0, static_cast<std::size_t>((round * 7 + i) % 300));
      if (ring.put(record, {text, "b", {}, {}, {}, {}, {}, "end"})) {
        ++put;
      } else {
        ++dropped;
      }
    }
    ring.drain([&](const AccessRecord& record, const AccessRing::Texts& texts) {
      ASSERT_EQ(record.request_bytes, taken);
      ASSERT_EQ(texts[1], "b");
      ASSERT_EQ(texts[7], "end");
      ASSERT_EQ(texts[0].find_first_not_of('x'), std::string_view::npos);
      ++taken;
    });
    ASSERT_EQ(taken, put);
  }
  EXPECT_GT(put, 1000U);
  EXPECT_GT(dropped, 0U);
}

TEST(AccessRing, is_read_by_another_thread_while_it_is_written) {
  AccessRing ring(16 << 10);
  constexpr std::uint64_t k_records = 200'000;
  std::atomic<bool> done{false};
  std::uint64_t next = 0;
  std::thread reader([&] {
    for (bool last = false; !last;) {
      last = done.load();
      ring.drain([&](const AccessRecord& record, const AccessRing::Texts& texts) {
        // Some are dropped, none comes twice, torn or out of order.
        ASSERT_GE(record.request_bytes, next);
        ASSERT_EQ(texts[0], std::to_string(record.request_bytes));
        next = record.request_bytes + 1;
      });
    }
  });
  for (std::uint64_t i = 0; i < k_records; ++i) {
    AccessRecord record;
    record.request_bytes = i;
    const std::string text = std::to_string(i);
    (void)ring.put(record, {text, {}, {}, {}, {}, {}, {}, {}});
  }
  done.store(true);
  reader.join();
  EXPECT_GT(next, 0U);
}

TEST(AccessLog, no_name_leads_out_of_the_folder) {
  EXPECT_EQ(access_log_path("/f", "shop"), "/f/shop.http.log");
  for (const char* name : {"", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n"}) {
    EXPECT_TRUE(access_log_path("/f", name).empty()) << name;
  }
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
  worker->count_request(2, 200, 900, "");
  worker->count_request(2, 200, 1'000, "");
  worker->count_request(2, 999, 60'000'000, "");
  worker->count_request(2, 504, 2'000'000, "upstream_timeout");
  const std::string text =
      prometheus_text({{worker.get()}, {"_none", "_other", "a\"b\\\n"}, 7, 3, 5});
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
           "atlasflow_edge_access_log_lines_dropped_total 5\n",
       }) {
    EXPECT_NE(text.find(line), std::string::npos) << line << " in\n" << text;
  }
}

}  // namespace
}  // namespace atlasflow::edge
