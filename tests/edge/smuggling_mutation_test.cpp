// Transfer-Encoding and Content-Length as they should not be written, generated: each byte that is
// no letter at each place, and the spellings that are known to divide parsers. A request with one
// of them is refused, or, where the grammar allows it, is one request for everybody.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_host = "shop.apps.test";
constexpr const char* k_second = "GET /smuggled HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n";

struct Mutation {
  std::string line;    // without its CRLF
  bool legal = false;  // white space where RFC 9112 section 5 has it
};

std::vector<Mutation> mutations_of(const std::string& name, const std::string& value) {
  std::vector<Mutation> mutations;
  for (int code = 1; code <= 0xFF; ++code) {
    const char byte = static_cast<char>(code);
    if ((code > 0x20 && code < 0x7F) || byte == '\n') continue;
    const bool space = byte == ' ' || byte == '\t';
    const std::string one(1, byte);
    mutations.push_back({one + name + ": " + value});
    mutations.push_back({name + one + ": " + value});
    mutations.push_back({name + ":" + one + value, space});
    mutations.push_back({name + ": " + value + one, space});
    mutations.push_back({name + ": " + value.substr(0, 1) + one + value.substr(1)});
  }
  return mutations;
}

// Of Transfer-Encoding: what some take for chunked and others do not.
std::vector<Mutation> known_spellings() {
  std::vector<Mutation> known;
  for (const char* value : {"xchunked",
                            "chunkedx",
                            "\"chunked\"",
                            "'chunked'",
                            "chunked;",
                            "chunked;a=b",
                            "chunked,",
                            ",chunked",
                            "chunked, identity",
                            "identity, chunked",
                            "chunked, chunked",
                            "gzip, chunked",
                            "chunked, gzip",
                            "identity",
                            "chunked chunked",
                            "[chunked]",
                            "chunk",
                            "c hunked",
                            "chunked\r\n\t",
                            " \r\n chunked",
                            "chunked\r\nTransfer-Encoding: identity",
                            "identity\r\nTransfer-Encoding: chunked",
                            "x\r\nTransfer-Encoding: chunked",
                            "chunked\r\nX: a\r\n b",
                            "\\x00chunked",
                            "chunked#",
                            "chunked=1",
                            "%63hunked",
                            "",
                            "0",
                            "1"}) {
    known.push_back({std::string("Transfer-Encoding: ") + value});
  }
  for (const char* name :
       {"Transfer-Encoding ", "Transfer Encoding", " Transfer-Encoding",
        "X: a\r\n Transfer-Encoding", "Transfer-Encoding\r\n ", "Transfer-\r\nEncoding",
        "X: a\rTransfer-Encoding", "X: a\nTransfer-Encoding",
        "Transfer-Encoding:", "\"Transfer-Encoding\"", "Transfer-Encoding\t"}) {
    known.push_back({std::string(name) + ": chunked"});
  }
  return known;
}

class SmugglingMutation : public EdgeTest {
 protected:
  // `head`: the fields; what follows would be another request for whoever reads these otherwise.
  void try_all(const std::vector<Mutation>& mutations,
               const std::function<std::string(const std::string& line)>& request) {
    for (const Mutation& mutation : mutations) {
      SCOPED_TRACE(testing::PrintToString(mutation.line));
      Client client;
      ASSERT_TRUE(client.connect(edge_->http_port()));
      client.send(request(mutation.line));
      const ClientResponse response = client.receive();
      ++tried_;
      if (mutation.legal) {
        ++legal_;
        EXPECT_LT(response.status, 600);
        continue;
      }
      EXPECT_GE(response.status, 400);
      EXPECT_LT(response.status, 502) << "the edge says it, before it asks anybody";
      EXPECT_TRUE(client.ended()) << "nothing after it is answered";
    }
  }
  // Of all that has come, nothing was the second request of a connection, and no line was mutated.
  void check_upstream(int connections_max) {
    EXPECT_LE(upstream_.connections(), connections_max);
    upstream_.stop();
    const std::string received = upstream_.received();
    EXPECT_EQ(received.find("GET /smuggled"), std::string::npos) << received;
  }

  int tried_ = 0;
  int legal_ = 0;
  RecordingUpstream upstream_{answer_with("ok")};
};

// Behind a Content-Length that covers everything: whoever takes the encoding for chunked finds a
// second request.
TEST_F(SmugglingMutation, no_transfer_encoding_beside_a_length_reaches_the_upstream) {
  start([](EdgeConfig& config) { config.redirect_http = false; });
  route(k_host, {at(upstream_)});
  publish();
  const std::string body = "0\r\n\r\n" + std::string(k_second);
  auto mutations = mutations_of("Transfer-Encoding", "chunked");
  const auto known = known_spellings();
  mutations.insert(mutations.end(), known.begin(), known.end());
  // White space makes it no less a Transfer-Encoding, and that is not allowed beside a length.
  for (Mutation& mutation : mutations) mutation.legal = false;
  try_all(mutations, [&](const std::string& line) {
    return "POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n" + line + "\r\n\r\n" + body;
  });
  EXPECT_GE(tried_, 800);
  check_upstream(0);
}

TEST_F(SmugglingMutation, no_length_that_is_not_digits_reaches_the_upstream) {
  start([](EdgeConfig& config) { config.redirect_http = false; });
  route(k_host, {at(upstream_)});
  publish();
  const std::string body = k_second;
  const std::string length = std::to_string(body.size());
  auto mutations = mutations_of("Content-Length", length);
  const std::vector<std::string> values = {"+" + length,
                                           "-" + length,
                                           "0x" + length,
                                           length + ".0",
                                           length + "e0",
                                           length + ", " + length,
                                           length + ",0",
                                           "\"" + length + "\"",
                                           length + ";",
                                           "",
                                           "99999999999999999999",
                                           length + "\r\nContent-Length: 0",
                                           "0\r\nContent-Length: " + length,
                                           length + "\r\nContent-Length: " + length,
                                           length + "\r\n 0",
                                           "1_0"};
  for (const std::string& value : values) {
    mutations.push_back({"Content-Length: " + value});
  }
  try_all(mutations, [&](const std::string& line) {
    return "POST / HTTP/1.1\r\nHost: shop.apps.test\r\n" + line + "\r\n\r\n" + body;
  });
  EXPECT_GE(tried_, 800);
  EXPECT_EQ(legal_, 4);
  // The legal ones have the second request as their body: it is not parsed as one.
  EXPECT_LE(upstream_.connections(), legal_);
}

// Alone, white space around it is the grammar's: then it is one chunked request.
TEST_F(SmugglingMutation, transfer_encoding_alone_is_chunked_for_everybody_or_for_nobody) {
  start([](EdgeConfig& config) { config.redirect_http = false; });
  route(k_host, {at(upstream_)});
  publish();
  try_all(mutations_of("Transfer-Encoding", "chunked"), [&](const std::string& line) {
    return "POST / HTTP/1.1\r\nHost: shop.apps.test\r\n" + line +
           "\r\nConnection: close\r\n\r\n0\r\n\r\n" + k_second;
  });
  EXPECT_EQ(legal_, 4);
  check_upstream(legal_);
}

}  // namespace
}  // namespace atlasflow::edge
