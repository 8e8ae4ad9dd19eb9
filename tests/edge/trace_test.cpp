// W3C Trace Context, and the small rules of gRPC: tables.
#include "edge/proxy/grpc.hpp"
#include "edge/proxy/trace_context.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

class Trace : public EdgeTest {};

TEST_F(Trace, a_valid_parent_is_passed_on_and_no_other) {
  start();
  std::mutex mutex;
  UpstreamSession::Request seen;
  RecordingUpstream upstream([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      const std::lock_guard lock(mutex);
      seen = request;
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
  });
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const std::string valid = k_valid;
  const std::string line = "traceparent: " + valid + "\r\n";
  struct Case {
    std::string fields;
    bool passed;
  };
  for (const auto& [fields, passed] : std::initializer_list<Case>{
           {line, true},
           {"TraceParent: " + valid + "\r\n", true},
           {"", false},
           {line + line, false},
           {"traceparent: " + valid.substr(1) + "\r\n", false},
           {"traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\n", false},
           {"traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01\r\n", false},
           {"traceparent: 00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01\r\n", false},
           {"traceparent: ff" + valid.substr(2) + "\r\n", false},
           {"traceparent: " + valid + "-more\r\n", false},
           {"traceparent: cc" + valid.substr(2) + "-more\r\n", true}}) {
    ASSERT_EQ(client.get("shop.apps.test", "/", fields + "tracestate: a=b\r\n").status, 200);
    const std::lock_guard lock(mutex);
    EXPECT_EQ(seen.fields.count("traceparent"), passed ? 1U : 0U) << fields;
    EXPECT_EQ(seen.fields.count("tracestate"), passed ? 1U : 0U) << fields;
    if (!passed) continue;
    EXPECT_NE(fields.find(seen.fields["traceparent"]), std::string::npos) << fields;
  }
}

TEST(Grpc, content_types_timeouts_and_statuses) {
  for (const char* type : {"application/grpc", "application/grpc+proto", "Application/gRPC;a=b"}) {
    EXPECT_TRUE(is_grpc(type)) << type;
  }
  for (const char* type : {"", "application/grp", "application/grpc-web", "application/grpcx"}) {
    EXPECT_FALSE(is_grpc(type)) << type;
  }
  EXPECT_EQ(grpc_timeout_ms("1H"), 3'600'000);
  EXPECT_EQ(grpc_timeout_ms("2M"), 120'000);
  EXPECT_EQ(grpc_timeout_ms("99999999S"), 99'999'999'000);
  EXPECT_EQ(grpc_timeout_ms("7m"), 7);
  EXPECT_EQ(grpc_timeout_ms("1u"), 1);
  EXPECT_EQ(grpc_timeout_ms("2000001n"), 3);
  for (const char* text : {"", "S", "1", "123456789S", "-1S", "+1S", "1 S", "1s", "1.5S"}) {
    EXPECT_FALSE(grpc_timeout_ms(text).has_value()) << text;
  }
  EXPECT_EQ(grpc_status_of(503), 14);
  EXPECT_EQ(grpc_status_of(504), 4);
  EXPECT_EQ(grpc_status_of(429), 8);
  EXPECT_EQ(grpc_status_of(413), 8);
  EXPECT_EQ(grpc_status_of(502), 14);
  EXPECT_EQ(grpc_status_of(418), 2);
  EXPECT_EQ(grpc_message("a%b\n\xc3\xa9"), "a%25b%0A%C3%A9");
}

}  // namespace
}  // namespace atlasflow::edge
