// What is valid and in use is taken, as is what an application says loosely and in one way only.
#include "tests/http/parsing.hpp"

namespace atlasflow::http {
namespace {

struct Taken {
  std::string name;
  std::string text;
  std::string host = "a";
  std::string authority = "a";
  std::string body = {};
};

// Valid and in use, and refused once.
const std::vector<Taken>& taken_requests() {
  static const std::vector<Taken> cases = {
      {"query", "QUERY /q HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nq1", "a", "a", "q1"},
      {"update", "UPDATE / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"label", "LABEL / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"any_token", "X-!#$%&'*+.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"lower_patch", "patch / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"method_of_another_protocol", "DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"unknown_method_chunked",
       "FROB / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "a",
       "a", "ab"},
      {"unknown_method_http10", "FROB / HTTP/1.0\r\nHost: a\r\n\r\n"},
      {"te_tabs", get("Host: a\r\nTransfer-Encoding:\t\tchunked\t \r\n") + "1\r\nx\r\n0\r\n\r\n",
       "a", "a", "x"},
      {"te_no_space",
       get("Host: a\r\nTransfer-Encoding:Chunked\r\nX: y\r\n") + "1\r\nx\r\n0\r\n\r\n", "a", "a",
       "x"},
      {"te_spaces", get("Host: a\r\nTransfer-Encoding:   chunked   \r\n") + "0\r\n\r\n"},
      {"te_tab_unknown_method",
       "FROB / HTTP/1.1\r\nTransfer-Encoding: \tchunked\t\r\nHost: a\r\n\r\n1\r\nx\r\n0\r\n\r\n",
       "a", "a", "x"},
      {"chunk_ext_spaces", chunked("5 ; a\t=\t\"b c\" ; d\r\nabcde\r\n0\r\n\r\n"), "a", "a",
       "abcde"},
      {"chunk_size_padded", chunked("5 \r\nabcde\r\n0\t \r\n\r\n"), "a", "a", "abcde"},
      {"chunk_last_ext", chunked("1\r\nx\r\n0 ;end\r\n\r\n"), "a", "a", "x"},
      {"default_port", "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", "a", "a:80"},
      {"default_port_in_host", "GET http://A/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "a", "A"},
      {"default_port_of_https", "GET https://a:443/ HTTP/1.1\r\nHost: a:\r\n\r\n", "a", "a:443"},
      {"port_in_both", "GET http://a:8080/ HTTP/1.1\r\nHost: a:8080\r\n\r\n", "a", "a:8080"},
      {"empty_port", get("Host: a:\r\n")},
      {"empty_port_of_address", get("Host: [::1]:\r\n"), "[::1]", "[::1]"},
      {"empty_port_in_target", "GET http://a:/ HTTP/1.1\r\nHost: a\r\n\r\n"},
  };
  return cases;
}

TEST(RequestParser, takes_all_that_is_valid) {
  for (const Taken& test : taken_requests()) {
    SCOPED_TRACE(test.name);
    const Parsed parsed = parse(test.text);
    EXPECT_EQ(parsed.status, 0);
    EXPECT_EQ(parsed.messages, 1);
    EXPECT_EQ(parsed.body, test.body);
    RequestParser parser;
    ASSERT_EQ(parser.next(test.text).event, ParseEvent::head);
    EXPECT_EQ(parser.head().host, test.host);
    EXPECT_EQ(parser.head().authority, test.authority);
  }
}

// As an upload to a store of objects is signed: each chunk brings 86 bytes of extension.
TEST(RequestParser, takes_a_signed_upload_of_any_number_of_chunks) {
  std::string body;
  for (int i = 0; i < 5'000; ++i) {
    body += "1;chunk-signature=" + std::string(64, 'a') + "\r\nx\r\n";
  }
  body += "0;chunk-signature=" + std::string(64, 'a') + "\r\n\r\n";
  const Parsed parsed = parse_requests(chunked(body), 16384);
  EXPECT_EQ(parsed.status, 0);
  EXPECT_EQ(parsed.body.size(), 5'000U);
  std::string greedy;
  for (int i = 0; i < 100; ++i) greedy += "1;a=" + std::string(1'000, 'a') + "\r\nx\r\n";
  EXPECT_EQ(parse_requests(chunked(greedy), 16384).status, 400) << "more extension than body";
}

// As it comes off a socket that has so many bytes at a time.
Response parse_response_in_pieces(const std::string& text, std::size_t piece) {
  ResponseParser parser;
  parser.reset(false);
  Response response;
  std::size_t end = std::min(piece, text.size());
  for (std::size_t at = 0;;) {
    const ParseStep step = parser.next(std::string_view(text).substr(at, end - at));
    at += step.consumed;
    response.body.append(step.body);
    if (step.event == ParseEvent::head) {
      response.status = parser.head().status;
      response.keep_alive = parser.head().keep_alive;
    }
    if (step.event == ParseEvent::complete && at == text.size()) return response;
    if (step.event == ParseEvent::need_more && end < text.size()) {
      end = std::min(end + piece, text.size());
    } else if (step.event == ParseEvent::error || step.event == ParseEvent::complete ||
               (step.event == ParseEvent::need_more && at == text.size())) {
      response.error = true;
      return response;
    }
  }
}

// What an application says in one way only, however loosely: its head is written anew.
TEST(ResponseParser, takes_what_can_mean_one_thing_only) {
  struct Case {
    const char* name;
    std::string text;
    int status = 200;
    std::string body = "abc";
  };
  const std::vector<Case> cases = {
      {"lf", "HTTP/1.1 200 OK\nContent-Length: 3\nX: y\n\nabc"},
      {"lf_chunked", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n0\r\n\r\n"},
      {"lf_body_with_empty_lines", "HTTP/1.1 200 OK\nContent-Length: 8\n\na\r\n\r\n\n\nb", 200,
       "a\r\n\r\n\n\nb"},
      {"lf_in_one_line", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\nZ: z\r\nA: b\r\n\r\nabc"},
      {"lf_after_the_status", "HTTP/1.1 200 OK\nX: y\r\nContent-Length: 3\r\n\r\nabc"},
      {"crlf_and_lf_body", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\n\nb", 200, "a\n\nb"},
      {"length_twice",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\nContent-length: 3\r\n\r\nabc"},
      {"length_thrice",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
      {"length_list", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\nX: y\r\n\r\nabc"},
      {"length_list_spaces", "HTTP/1.1 200 OK\r\nContent-Length:3 , 3\r\nX: y\r\n\r\nabc"},
      {"length_list_and_again",
       "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 3,3 , 3\r\nContent-Length: 3,3\r\n\r\nabc"},
      {"size_padded",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3  \r\nabc\r\n0 \r\n\r\n"},
      {"te_tab", "HTTP/1.1 200 OK\r\nTransfer-Encoding:\tchunked\t\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
      {"600", "HTTP/1.1 600 Own\r\nContent-Length: 3\r\n\r\nabc", 600},
      {"777", "HTTP/1.1 777\r\nContent-Length: 3\r\n\r\nabc", 777},
      {"999", "HTTP/1.1 999 Denied\r\nContent-Length: 3\r\n\r\nabc", 999},
  };
  for (const Case& test : cases) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, test.text.size()}) {
      SCOPED_TRACE(test.name + (" in pieces of " + std::to_string(piece)));
      const Response response = parse_response_in_pieces(test.text, piece);
      EXPECT_FALSE(response.error);
      EXPECT_EQ(response.status, test.status);
      EXPECT_EQ(response.body, test.body);
      EXPECT_TRUE(response.keep_alive);
    }
  }
}

// One line that ends in LF, as of a program behind a server that writes the others, and beside it
// the framing: the answer is taken, and the connection is not used again.
TEST(ResponseParser, takes_a_lone_lf_beside_the_framing_and_nothing_after_it) {
  for (const std::string& text : {
           std::string("HTTP/1.1 200 OK\r\nX: a\nContent-Length: 3\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 3\nX: a\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\nContent-Length: 3\r\nX: a\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n0\r\n\r\n"),
       }) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, text.size()}) {
      const Response response = parse_response_in_pieces(text, piece);
      EXPECT_FALSE(response.error) << text;
      EXPECT_EQ(response.body, "abc") << text;
      EXPECT_FALSE(response.keep_alive) << text;
    }
  }
}

}  // namespace
}  // namespace atlasflow::http
