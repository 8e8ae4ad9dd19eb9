// HTTP/2 as an attacker writes it: requests that would be read differently one hop on, and frames
// that cost the client nothing.
#include <algorithm>
#include <atomic>

#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_host = "shop.apps.test";

class Http2Attack : public EdgeTest {
 protected:
  void serve(const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    upstream_ = std::make_unique<RecordingUpstream>(answer_with("hello"));
    route(k_host, {at(*upstream_)});
    publish();
  }
  void expect_served() {
    Http2Client other;
    ASSERT_TRUE(other.connect(*edge_, k_host));
    other.get(1);
    EXPECT_EQ(other.response(1).body, "hello");
  }
  std::atomic<bool> go_{false};
  std::unique_ptr<RecordingUpstream> upstream_;
};

struct Malformed {
  const char* what;
  Http2Client::Fields fields;
};

Http2Client::Fields with(Http2Client::Fields fields, Http2Client::Fields more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

TEST_F(Http2Attack, nothing_malformed_reaches_an_application) {
  serve();
  const Http2Client::Fields get = {
      {":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", k_host}};
  const auto replaced = [&](std::size_t index, const std::string& value) {
    Http2Client::Fields fields = get;
    fields[index].second = value;
    return fields;
  };
  const auto without = [&](std::size_t index) {
    Http2Client::Fields fields = get;
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(index));
    return fields;
  };
  const std::vector<Malformed> cases = {
      {"a request in a value", with(get, {{"x-a", "1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x"}})},
      {"a line feed in a value", with(get, {{"x-a", "1\nx-b: 2"}})},
      {"a zero in a value", with(get, {{"x-a", std::string("1\0002", 3)}})},
      {"a line in a name", with(get, {{"x-a: 1\r\nx-b", "2"}})},
      {"a colon in a name", with(get, {{"x-a: 1", "2"}})},
      {"upper case in a name", with(get, {{"X-A", "1"}})},
      {"an empty name", with(get, {{"", "1"}})},
      {"connection", with(get, {{"connection", "keep-alive"}})},
      {"transfer-encoding", with(get, {{"transfer-encoding", "chunked"}})},
      {"upgrade", with(get, {{"upgrade", "websocket"}})},
      {"te", with(get, {{"te", "gzip"}})},
      {"a length that the body does not have", with(get, {{"content-length", "5"}})},
      {"two lengths", with(get, {{"content-length", "0"}, {"content-length", "1"}})},
      {"a line in the path", replaced(2, "/ HTTP/1.1\r\nx-a: 1\r\n\r\n")},
      {"a space in the path", replaced(2, "/a b")},
      {"an absolute path", replaced(2, "http://other.test/")},
      {"an empty path", replaced(2, "")},
      {"no path", without(2)},
      {"no method", without(0)},
      {"no scheme", without(1)},
      {"a space in the method", replaced(0, "GET /smuggled")},
      {"another scheme", replaced(1, "gopher")},
      {"connect", replaced(0, "CONNECT")},
      {"trace", replaced(0, "TRACE")},
      {"userinfo in the authority", replaced(3, "shop.apps.test@other.test")},
      {"no authority at all", without(3)},
      {"another host", with(get, {{"host", "other.test"}})},
      {"two hosts", with(without(3), {{"host", k_host}, {"host", k_host}})},
      {"a pseudo-header field twice", with(get, {{":path", "/"}})},
      {"a pseudo-header field late", with({{"x-a", "1"}}, get)},
      {"an unknown pseudo-header field", with({{":status", "200"}}, get)},
  };
  for (const Malformed& each : cases) {
    Http2Client client;
    ASSERT_TRUE(client.connect(*edge_, k_host));
    client.send_fields(1, each.fields, true);
    const Http2Response& response = client.response(1);
    EXPECT_TRUE(response.reset || client.goaway() ||
                (response.status >= 400 && response.status < 500))
        << each.what << ": " << response.status;
  }
  upstream_->stop();
  EXPECT_EQ(upstream_->received(), "");
}

TEST_F(Http2Attack, a_body_longer_or_shorter_than_its_length_is_not_whole) {
  serve();
  for (const char* body : {"12345678", "123"}) {
    Http2Client client;
    ASSERT_TRUE(client.connect(*edge_, k_host));
    client.post(1, {{"content-length", "5"}});
    client.send_data(1, body, true);
    EXPECT_TRUE(client.response(1).reset.has_value()) << body;
  }
  upstream_->stop();
  EXPECT_EQ(upstream_->received().find("12345678"), std::string::npos);
}

TEST_F(Http2Attack, trailers_bring_no_field_of_the_head) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1);
  client.send_data(1, "body", false);
  client.send_fields(1, {{"x-real-ip", "6.6.6.6"}, {"authorization", "x"}, {"x-fine", "1"}}, true);
  EXPECT_EQ(client.response(1).status, 200);
  client.connection().close();
  upstream_->stop();
  EXPECT_EQ(upstream_->received().find("6.6.6.6"), std::string::npos);
  EXPECT_EQ(upstream_->received().find("authorization"), std::string::npos);
  EXPECT_NE(upstream_->received().find("x-fine: 1"), std::string::npos);
}

TEST_F(Http2Attack, heads_have_the_limits_of_http1) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/", {{"x-a", std::string(15000, 'a')}});
  EXPECT_EQ(client.response(1).status, 200);
  Http2Client::Fields many;
  for (int i = 0; i < 300; ++i) many.emplace_back("x-" + std::to_string(i), "1");
  client.get(3, "/", many);
  EXPECT_EQ(client.response(3).status, 431);
  // A block of 48 KiB in three frames.
  const std::string block = Http2Client::block({{":method", "GET"},
                                                {":scheme", "https"},
                                                {":path", "/"},
                                                {":authority", k_host},
                                                {"x-a", std::string(16000, 'a')},
                                                {"x-b", std::string(16000, 'a')},
                                                {"x-c", std::string(8000, 'a')}});
  client.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 5, block.substr(0, 16384));
  client.send_frame(NGHTTP2_CONTINUATION, 0, 5, block.substr(16384, 16384));
  client.send_frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 5, block.substr(32768));
  EXPECT_EQ(client.response(5).status, 431);
  client.get(7);
  EXPECT_EQ(client.response(7).body, "hello");
}

// ---- floods ----

TEST_F(Http2Attack, rapid_resets_end_the_connection) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  for (std::uint32_t id = 1; id < 6000; id += 2) {
    if (!client.get(id) ||
        !client.send_frame(NGHTTP2_RST_STREAM, 0, id, Http2Client::number(NGHTTP2_CANCEL))) {
      break;
    }
  }
  (void)client.read_goaway();
  EXPECT_TRUE(!client.goaway() || client.goaway() == NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_TRUE(eventually([&] { return client.connection().ended(); }));
  EXPECT_LT(upstream_->connections(), 1000);
  expect_served();
}

TEST_F(Http2Attack, frames_that_say_nothing_end_the_connection) {
  serve();
  struct Flood {
    const char* what;
    std::function<bool(Http2Client&)> frame;
  };
  const std::vector<Flood> floods = {
      {"ping", [](auto& c) { return c.send_frame(NGHTTP2_PING, 0, 0, "12345678"); }},
      {"settings", [](auto& c) { return c.send_frame(NGHTTP2_SETTINGS, 0, 0, ""); }},
      {"empty data", [](auto& c) { return c.send_frame(NGHTTP2_DATA, 0, 1, ""); }},
      {"padding",
       [](auto& c) {
         return c.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, std::string(1, '\0'));
       }},
      {"priority",
       [](auto& c) { return c.send_frame(NGHTTP2_PRIORITY, 0, 1, std::string("\0\0\0\3\1", 5)); }},
      {"window",
       [](auto& c) { return c.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, Http2Client::number(1)); }},
  };
  for (const Flood& flood : floods) {
    Http2Client client;
    ASSERT_TRUE(client.connect(*edge_, k_host));
    client.post(1);
    for (int i = 0; i < 3'000 && flood.frame(client); ++i) {
    }
    (void)client.read_goaway();
    EXPECT_TRUE(eventually([&] { return client.connection().ended(); })) << flood.what;
    EXPECT_TRUE(!client.goaway() || client.goaway() == NGHTTP2_ENHANCE_YOUR_CALM) << flood.what;
    expect_served();
  }
}

TEST_F(Http2Attack, a_block_of_fields_without_end_ends_the_connection) {
  serve([](EdgeConfig& config) { config.timeouts.request_head = 2s; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1,
                    Http2Client::block({{":method", "GET"}}));
  const std::string more = Http2Client::block({{"x-a", std::string(1000, 'a')}});
  for (int i = 0; i < 5'000 && client.send_frame(NGHTTP2_CONTINUATION, 0, 1, more); ++i) {
  }
  (void)client.read_goaway();
  EXPECT_TRUE(eventually([&] { return client.connection().ended(); }));
  // And one that stops in the middle of it is not waited for.
  Http2Client slow;
  ASSERT_TRUE(slow.connect(*edge_, k_host));
  slow.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1,
                  Http2Client::block({{":method", "GET"}}));
  (void)slow.read_goaway();
  EXPECT_TRUE(eventually([&] { return slow.connection().ended(); }));
  expect_served();
}

// Refused, so that they may be sent again, while the client cannot know the limit yet; the end of
// the connection once it does.
TEST_F(Http2Attack, streams_beyond_the_limit_are_refused) {
  start();
  upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      (void)eventually([&] { return go_.load(); });
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    }
  });
  route(k_host, {at(*upstream_)});
  publish();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  for (std::uint32_t id = 1; id < 300; id += 2) client.get(id);
  const auto count = [&](const auto& of) {
    return std::count_if(client.responses().begin(), client.responses().end(),
                         [&](const auto& each) { return of(each.second); });
  };
  const auto refused = [](const Http2Response& response) {
    return response.reset == NGHTTP2_REFUSED_STREAM;
  };
  const auto served = [](const Http2Response& response) { return response.body == "hello"; };
  EXPECT_TRUE(client.read_until([&] { return count(refused) == 50; }));
  go_ = true;
  EXPECT_TRUE(client.read_until([&] { return count(served) == 100; }));
  EXPECT_EQ(count(refused), 50);

  client.get(301);
  EXPECT_EQ(client.response(301).body, "hello");
  go_ = false;
  for (std::uint32_t id = 303; id < 603 && client.get(id); id += 2) {
  }
  EXPECT_EQ(client.read_goaway(), NGHTTP2_PROTOCOL_ERROR);
  go_ = true;
}

}  // namespace
}  // namespace atlasflow::edge
