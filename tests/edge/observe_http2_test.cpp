// Requests of an HTTP/2 connection: each is counted and logged once, however it ends.
#include <string>
#include <vector>

#include <sys/socket.h>

#include "tests/edge/http2_client.hpp"
#include "tests/edge/observe_fixture.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_host = "shop.apps.test";

class ObserveHttp2 : public Observe {
 protected:
  void connect(std::uint32_t window = 65535) {
    serve();
    ASSERT_TRUE(client_.connect(*edge_, k_host, window));
  }
  void reset_connection() {
    const linger at_once{1, 0};
    ASSERT_EQ(
        ::setsockopt(client_.connection().fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once),
        0);
    client_.connection().close();
  }
  Http2Client client_;
};

TEST_F(ObserveHttp2, each_stream_is_a_line_and_has_an_id) {
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  connect();
  std::vector<std::string> ids;
  for (std::uint32_t id = 1; id < 20; id += 2) {
    client_.get(id, "/" + std::to_string(id), {{"traceparent", trace}});
    const Http2Response& response = client_.response(id);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.fields.at("x-request-id"), last().fields["x-request-id"]);
    EXPECT_EQ(last().fields["traceparent"], trace);
    ids.push_back(response.fields.at("x-request-id"));
  }
  const auto lines = lines_of("shop", ids.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("request_id"), ids[i]);
    EXPECT_EQ(lines[i].at("protocol"), "HTTP/2");
    EXPECT_EQ(lines[i].at("scheme"), "https");
    EXPECT_EQ(lines[i].at("response_bytes"), 5);
    EXPECT_FALSE(lines[i].contains("error")) << lines[i];
  }
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"shop\",status=\"2xx\"} 10"));
  EXPECT_TRUE(says("atlasflow_edge_protocol_requests_total{protocol=\"HTTP/2\"} 10"));
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
  EXPECT_TRUE(says("atlasflow_edge_connections_open{scheme=\"https\"} 1"));
}

TEST_F(ObserveHttp2, what_the_edge_refuses_and_what_nghttp2_does_are_counted_once_each) {
  connect();
  const Http2Client::Fields head = {
      {":method", "GET"}, {":scheme", "https"}, {":authority", k_host}};
  auto two_hosts = head;
  two_hosts.emplace_back(":path", "/");
  two_hosts.emplace_back("host", "other.apps.test");
  client_.send_fields(1, two_hosts, true);  // the edge says so
  EXPECT_EQ(client_.response(1).status, 400);
  auto bad_field = head;
  bad_field.emplace_back(":path", "/");
  bad_field.emplace_back("Upper", "case");
  client_.send_fields(3, bad_field, true);  // nghttp2 resets it
  EXPECT_TRUE(client_.response(3).reset.has_value());
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"bad_request\"} 2"));
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"_none\",status=\"none\"} 1"));
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
  // A body that is not what its length says, of a request that an application has.
  client_.send_fields(5,
                      {{":method", "POST"},
                       {":scheme", "https"},
                       {":path", "/silent"},
                       {":authority", k_host},
                       {"content-length", "3"}},
                      false);
  client_.send_data(5, "longer", true);
  EXPECT_TRUE(client_.response(5).reset.has_value());
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"bad_request\"} 3"));
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"client_left\"} 0"));
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
  EXPECT_EQ(log_of("shop").find("client_left"), std::string::npos);
}

TEST_F(ObserveHttp2, a_stream_that_its_client_resets_is_one_that_it_left) {
  connect();
  client_.get(1, "/silent");
  EXPECT_TRUE(eventually([&] { return last().path == "/silent"; }));
  client_.send_frame(NGHTTP2_RST_STREAM, 0, 1, Http2Client::number(NGHTTP2_CANCEL));
  EXPECT_TRUE(logs("shop", "\"error\":\"client_left\",\"phase\":\"wait\""));
  client_.get(3, "/after");
  EXPECT_EQ(client_.response(3).status, 200);
  EXPECT_EQ(lines_of("shop", 2)[1].at("path"), "/after");
  EXPECT_TRUE(says("atlasflow_edge_requests_total{project=\"shop\",status=\"none\"} 1"));
}

TEST_F(ObserveHttp2, an_answer_of_which_the_client_took_a_part_is_not_whole) {
  connect(1000);
  client_.keep_windows_shut();
  client_.get(1, "/small");  // it fits into the window
  EXPECT_EQ(client_.response(1).status, 200);
  client_.get(3, "/large");
  EXPECT_TRUE(client_.read_until([&] { return client_.responses()[3].body.size() == 1000; }));
  reset_connection();
  const auto lines = lines_of("shop", 2);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_FALSE(lines[0].contains("error"));
  EXPECT_EQ(lines[1].at("error"), "client_left");
  EXPECT_EQ(lines[1].at("phase"), "response");
  EXPECT_EQ(lines[1].at("status"), 200);
}

// The application's answer was whole long before; the client never took it.
TEST_F(ObserveHttp2, an_answer_that_waited_for_its_client_in_vain_is_not_whole_either) {
  connect(3);
  client_.keep_windows_shut();
  client_.get(1, "/small");
  EXPECT_TRUE(client_.read_until([&] { return client_.responses()[1].body == "hel"; }));
  client_.send_frame(NGHTTP2_RST_STREAM, 0, 1, Http2Client::number(NGHTTP2_CANCEL));
  const auto lines = lines_of("shop", 1);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].value("error", ""), "client_left");
}

TEST_F(ObserveHttp2, one_that_breaks_the_protocol_does_so_for_each_of_its_requests) {
  connect();
  for (std::uint32_t id = 1; id < 10; id += 2) client_.get(id, "/silent");
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 5"));
  client_.send_frame(NGHTTP2_DATA, 0, 99, "of no stream");
  EXPECT_TRUE(client_.read_goaway().has_value());
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"protocol_error\"} 5"));
  EXPECT_TRUE(says("atlasflow_edge_requests_in_flight 0"));
}

TEST_F(ObserveHttp2, more_streams_than_one_may_have_are_counted_as_refused) {
  connect();
  for (std::uint32_t id = 1; id < 2 * 101; id += 2) client_.get(id, "/silent");
  EXPECT_TRUE(says("atlasflow_edge_errors_total{code=\"refused_stream\"} 1"));
}

}  // namespace
}  // namespace atlasflow::edge
