// The message library: what is accepted, what is refused and with which status, and that neither
// depends on how the bytes were cut into reads.
#include "tests/http/parsing.hpp"

namespace atlasflow::http {
namespace {

TEST(RequestParser, reads_a_request_and_normalises_its_host) {
  const Parsed parsed = parse("GET /a?b=c HTTP/1.1\r\nHost: App.Example.COM.:8080\r\n\r\n");
  EXPECT_EQ(parsed.status, 0);
  EXPECT_EQ(parsed.lines, std::vector<std::string>{"GET /a?b=c app.example.com"});
  EXPECT_EQ(parsed.messages, 1);
}

TEST(RequestParser, reads_pipelined_requests_with_bodies_of_both_framings) {
  const Parsed parsed = parse(
      "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
      "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;name=value;q=\"a\\\"b\"\r\n wo\r\n3\r\nrld\r\n0\r\nX-Sum: 7\r\n\r\n"
      "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(parsed.status, 0);
  EXPECT_EQ(parsed.messages, 3);
  EXPECT_EQ(parsed.body, "hello world");
  EXPECT_EQ(parsed.trailers, "X-Sum=7;");
}

TEST(RequestParser, takes_up_to_two_empty_lines_before_a_request_and_no_more) {
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(parse("\r\n\r\n" + request).status, 0);
  EXPECT_EQ(parse("\r\n\r\n\r\n" + request).status, 400);
}

TEST(RequestParser, takes_the_host_of_an_absolute_target) {
  const Parsed parsed = parse("GET http://A.test:81/x HTTP/1.1\r\nHost: a.test:81\r\n\r\n");
  EXPECT_EQ(parsed.lines, std::vector<std::string>{"GET /x a.test"});
}

TEST(RequestParser, says_what_the_connection_will_do) {
  struct Case {
    std::string head;
    bool keep_alive;
    bool expect_continue;
    bool websocket;
  };
  const std::vector<Case> cases = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false, false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false, false, false},
      {"GET / HTTP/1.0\r\n\r\n", false, false, false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false, false},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n", true,
       true, false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
       true, false, true},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", true, false,
       false},
      {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", true, false, false},
  };
  for (const Case& test : cases) {
    RequestParser parser;
    ASSERT_EQ(parser.next(test.head).event, ParseEvent::head) << test.head;
    EXPECT_EQ(parser.head().keep_alive, test.keep_alive) << test.head;
    EXPECT_EQ(parser.head().expect_continue, test.expect_continue) << test.head;
    EXPECT_EQ(parser.head().upgrade_websocket, test.websocket) << test.head;
  }
}

struct Refused {
  std::string name;
  std::string text;
  int status = 400;
};

const std::vector<Refused>& refused_requests() {
  static const std::vector<Refused> cases = {
      {"cr_ends_head", "GET / HTTP/1.1\r\nHost: a\r\n\rGET /b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"cr_in_empty_value", get("Host: a\r\nX:\r\r\n")},
      {"cr_in_value", get("Host: a\r\nX: a\rb\r\n")},
      {"bare_lf_head", "GET / HTTP/1.1\nHost: a\n\n"},
      {"bare_lf_request_line", "GET / HTTP/1.1\nHost: a\r\n\r\n"},
      {"bare_lf_field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"},
      {"obs_fold", get("Host: a\r\nX: a\r\n b\r\n")},
      {"obs_fold_tab", get("Host: a\r\nX: a\r\n\tb\r\n")},
      {"fold_before_first_field", get(" Host: a\r\n")},
      {"space_before_colon", get("Host: a\r\nContent-Length : 5\r\n")},
      {"empty_name", get("Host: a\r\n: b\r\n")},
      {"no_colon", get("Host: a\r\nfoo\r\n")},
      {"nul_in_value", get(std::string("Host: a\r\nX: a\0b\r\n", 16))},
      {"nul_in_name", get(std::string("Host: a\r\nX\0: a\r\n", 15))},
      {"del_in_value", get("Host: a\r\nX: \x7f\r\n")},
      {"two_spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"tab_in_line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"trailing_space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
      {"fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"space_in_target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"eight_bit_target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"no_scheme_host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"other_scheme", "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"relative_target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"asterisk_get", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"http09", "GET /\r\n\r\n"},
      {"version_minor", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
      {"version_lower", "GET / http/1.1\r\nHost: a\r\n\r\n"},
      {"version_two", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"h2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"ice", "SOURCE / ICE/1.0\r\nHost: a\r\n\r\n"},
      {"rtsp", "DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n"},
      {"lower_head", "head / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"lower_connect", "Connect / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"lower_trace", "trace / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"method_of_http2", "PRI / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"no_method", " / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"asterisk_query", "QUERY * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"unknown_method_te_and_cl",
       "QUERY / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
       "0\r\n\r\n"},
      {"unknown_method_bare_cr", "QUERY / HTTP/1.1\r\nHost: a\r\nX:\r\r\n\r\n"},
      {"bad_method", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405},
      {"trace", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"no_host", "GET / HTTP/1.1\r\n\r\n"},
      {"two_hosts", get("Host: a\r\nHost: a\r\n")},
      {"two_hosts_differ", get("Host: a\r\nhost: b\r\n")},
      {"empty_host", get("Host:\r\n")},
      {"host_userinfo", get("Host: u@a\r\n")},
      {"host_path", get("Host: a/b\r\n")},
      {"host_comma", get("Host: a, b\r\n")},
      {"host_percent", get("Host: a%2e\r\n")},
      {"host_port", get("Host: a:99999\r\n")},
      {"host_port_zero", get("Host: a:0\r\n")},
      {"host_only_a_colon", get("Host: :\r\n")},
      {"host_two_colons", get("Host: a::\r\n")},
      {"port_differs_from_target", "GET http://a:8080/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"port_differs_from_host", "GET http://a/ HTTP/1.1\r\nHost: a:8080\r\n\r\n"},
      {"default_port_of_another_scheme", "GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"host_port_text", get("Host: a:b\r\n")},
      {"host_dots", get("Host: a..b\r\n")},
      {"host_leading_dot", get("Host: .a\r\n")},
      {"host_bracket", get("Host: [::1\r\n")},
      {"host_differs_from_target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"target_userinfo", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"te_and_cl",
       get("Host: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
      {"cl_and_te",
       get("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n") + "0\r\n\r\n"},
      {"two_cl", get("Host: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n") + "abcd"},
      {"two_equal_cl", get("Host: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n") + "abcd"},
      {"list_cl", get("Host: a\r\nContent-Length: 4, 4\r\n") + "abcd"},
      {"plus_cl", get("Host: a\r\nContent-Length: +4\r\n") + "abcd"},
      {"minus_cl", get("Host: a\r\nContent-Length: -4\r\n")},
      {"hex_cl", get("Host: a\r\nContent-Length: 0x4\r\n") + "abcd"},
      {"space_cl", get("Host: a\r\nContent-Length: 4 4\r\n") + "abcd"},
      {"empty_cl", get("Host: a\r\nContent-Length:\r\n")},
      {"huge_cl", get("Host: a\r\nContent-Length: 99999999999999999999\r\n")},
      {"te_unknown", get("Host: a\r\nTransfer-Encoding: gzip\r\n"), 501},
      {"te_gzip_chunked", get("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n"), 501},
      {"te_identity", get("Host: a\r\nTransfer-Encoding: identity\r\n"), 501},
      {"te_leading_comma", get("Host: a\r\nTransfer-Encoding: ,chunked\r\n")},
      {"te_trailing_comma", get("Host: a\r\nTransfer-Encoding: chunked,\r\n")},
      {"te_twice_in_list", get("Host: a\r\nTransfer-Encoding: chunked, chunked\r\n")},
      {"te_chunked_first", get("Host: a\r\nTransfer-Encoding: chunked, gzip\r\n")},
      {"te_twice", get("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
      {"te_quoted", get("Host: a\r\nTransfer-Encoding: \"chunked\"\r\n")},
      {"te_parameter", get("Host: a\r\nTransfer-Encoding: chunked;a=b\r\n")},
      {"te_vertical_tab", get("Host: a\r\nTransfer-Encoding: \x0b"
                              "chunked\r\n")},
      {"te_empty", get("Host: a\r\nTransfer-Encoding:\r\n")},
      {"te_http10", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"expectation", get("Host: a\r\nExpect: magic\r\n"), 417},
      {"chunk_cr_ext", chunked("5\r\r;ABCD\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_cr_zero", chunked("1\r0\n\r\n")},
      {"chunk_lf", chunked("5\nabcde\r\n0\r\n\r\n")},
      {"chunk_data_lf", chunked("5\r\nabcde\n0\r\n\r\n")},
      {"chunk_long_data", chunked("5\r\nabcdef\r\n0\r\n\r\n")},
      {"chunk_space_lf", chunked("5 \nabcde\r\n0\r\n\r\n")},
      {"chunk_space_cr", chunked("5 \rX\nabcde\r\n0\r\n\r\n")},
      {"chunk_leading_space", chunked(" 5\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_prefix", chunked("0x5\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_sign", chunked("+5\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_empty_size", chunked("\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_overflow", chunked("10000000000000005\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_empty", chunked("5;\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_end_space", chunked("5;a \r\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_value_end_space", chunked("5;a=b\t\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_two_names", chunked("5;a b\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_two_values", chunked("5;a=b c\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_no_value", chunked("5;a= \r\nabcde\r\n0\r\n\r\n")},
      {"chunk_two_sizes", chunked("5 5\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_lf", chunked("5;a\nabcde\r\n0\r\n\r\n")},
      {"chunk_ext_quoted_cr", chunked("5;a=\"\r\n\"\r\nabcde\r\n0\r\n\r\n")},
      {"chunk_trailer_lf", chunked("0\r\nX: a\n\r\n")},
      {"chunk_trailer_fold", chunked("0\r\nX: a\r\n b\r\n\r\n")},
      {"chunk_trailer_name", chunked("0\r\nX : a\r\n\r\n")},
  };
  return cases;
}

TEST(RequestParser, refuses_what_another_parser_could_read_differently) {
  for (const Refused& test : refused_requests()) {
    SCOPED_TRACE(test.name);
    const Parsed parsed = parse(test.text);
    EXPECT_EQ(parsed.status, test.status);
    EXPECT_EQ(parsed.messages, 0);
  }
}

TEST(RequestParser, refuses_a_hopeless_head_before_its_end) {
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\n"), std::string("GET / HTTP/1.1\r\nHost: a\r\n\rX"),
        std::string("GET /\0", 6), std::string("GET / HTTP/1.1\r\nA: b\r\n c")}) {
    EXPECT_EQ(parse(text).status, 400) << text;
  }
}

TEST(RequestParser, keeps_its_limits) {
  const auto padded = [](std::size_t bytes) { return std::string(bytes, 'a'); };
  EXPECT_EQ(parse("GET /" + padded(16383) + " HTTP/1.1\r\nHost: a\r\n\r\n").status, 0);
  EXPECT_EQ(parse("GET /" + padded(16384) + " HTTP/1.1\r\nHost: a\r\n\r\n").status, 414);
  EXPECT_EQ(parse("GET /" + padded(17000)).status, 414);
  EXPECT_EQ(parse_requests("GET /" + padded(60000), 16384).status, 414);
  EXPECT_EQ(parse(get("Host: a\r\nX: " + padded(31000) + "\r\n")).status, 0);
  EXPECT_EQ(parse(get("Host: a\r\nX: " + padded(33000) + "\r\n")).status, 431);
  EXPECT_EQ(parse(get("Host: a\r\nX: " + padded(40000))).status, 431);
  std::string fields = "Host: a\r\n";
  for (int i = 0; i < 199; ++i) fields += "X: y\r\n";
  EXPECT_EQ(parse(get(fields)).status, 0);
  EXPECT_EQ(parse(get(fields + "X: y\r\n")).status, 431);

  HttpLimits small;
  small.body_bytes_max = 4;
  EXPECT_EQ(parse(get("Host: a\r\nContent-Length: 4\r\n") + "abcd", small).status, 0);
  EXPECT_EQ(parse(get("Host: a\r\nContent-Length: 5\r\n"), small).status, 413);
  EXPECT_EQ(parse_requests(chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 99999, small).status, 413);

  EXPECT_EQ(parse(chunked("0;" + padded(5000) + "\r\n\r\n")).status, 400);
  EXPECT_EQ(parse(chunked("0\r\nX: " + padded(9000) + "\r\n\r\n")).status, 431);
}

TEST(RequestParser, needs_no_host_from_an_http10_client) {
  const Parsed parsed = parse("GET /x HTTP/1.0\r\n\r\n");
  EXPECT_EQ(parsed.status, 0);
  EXPECT_EQ(parsed.lines, std::vector<std::string>{"GET /x "});
}

Response parse_response(std::string text, bool to_head = false, bool closes = false) {
  ResponseParser parser;
  parser.reset(to_head);
  Response response;
  for (;;) {
    ParseStep step = parser.next(text);
    response.body.append(step.body);
    text.erase(0, step.consumed);
    if (step.event == ParseEvent::need_more) {
      step = closes ? parser.finish() : ParseStep{ParseEvent::error, 0, {}};
    }
    if (step.event == ParseEvent::head) {
      response.status = parser.head().status;
      response.keep_alive = parser.head().keep_alive;
    }
    if (step.event == ParseEvent::error) response.error = true;
    if (step.event == ParseEvent::error || step.event == ParseEvent::complete) return response;
  }
}

TEST(ResponseParser, frames_bodies_as_the_request_and_the_fields_say) {
  EXPECT_EQ(parse_response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").body, "abc");
  EXPECT_EQ(parse_response("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").status, 200);
  EXPECT_EQ(parse_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "3\r\nabc\r\n0\r\n\r\n")
                .body,
            "abc");
  EXPECT_EQ(parse_response("HTTP/1.1 200 OK\r\n\r\nabc", false, true).body, "abc");
  EXPECT_FALSE(parse_response("HTTP/1.1 200 OK\r\n\r\nabc", false, true).keep_alive);
  EXPECT_FALSE(parse_response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true).error);
  EXPECT_FALSE(parse_response("HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n").error);
  EXPECT_FALSE(parse_response("HTTP/1.1 204 No\r\n\r\n").error);
  EXPECT_FALSE(parse_response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").error);
}

TEST(ResponseParser, knows_a_cut_response_from_a_whole_one) {
  EXPECT_TRUE(parse_response("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false, true).error);
  EXPECT_TRUE(parse_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                             false, true)
                  .error);
  EXPECT_TRUE(parse_response("HTTP/1.1 200 OK\r\nX: ", false, true).error);
}

TEST(ResponseParser, refuses_ambiguous_responses) {
  for (const std::string& text : {
           std::string(
               "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
           std::string("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
           std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
           std::string("HTTP/1.1 OK\r\n\r\n"),
           std::string("HTTP/2.0 200 OK\r\n\r\n"),
           std::string("HTTP/1.1 2000 OK\r\n\r\n"),
           std::string("HTTP/1.1 099 OK\r\n\r\n"),
           std::string(
               "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\r\nX: a\nTransfer-Encoding: chunked\r\n"
                       "Content-Length: 3\r\n\r\n0\r\n\r\n"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: a\n\nabc\r\n\r\n"),
           std::string("HTTP/1.1 200 OK\r\nX: a\n\r\nContent-Length: 3\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\nX: a\rb\n\n"),
           std::string("HTTP/1.1 200 OK\nX: a\n b\n\n"),
           std::string("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n"),
           std::string("HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 4\n\nabcd"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 3,\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: ,3\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 3 3\r\n\r\nabc"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\nContent-Length: 4\r\n\r\nabc"),
           std::string("HTTP/1.1 1000 OK\r\n\r\n"),
           std::string("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\r\n b\r\n\r\n"),
           std::string("HTTP/1.1 200 OK\r\nX : a\r\n\r\n"),
           std::string("nonsense\r\n\r\n"),
       }) {
    EXPECT_TRUE(parse_response(text, false, true).error) << text;
  }
}

TEST(RequestParser, reads_the_connection_options_of_all_fields_once) {
  RequestParser parser;
  ASSERT_EQ(parser
                .next("GET / HTTP/1.1\r\nHost: a\r\nConnection: X-A, ,x-b\r\nconnection:close\r\n"
                      "Connection:\r\n\r\n")
                .event,
            ParseEvent::head);
  EXPECT_EQ(parser.head().connection_options,
            (std::vector<std::string_view>{"X-A", "x-b", "close"}));
  EXPECT_FALSE(parser.head().keep_alive);
}

TEST(RequestParser, refuses_more_connection_options_than_can_be_compared_with_each_field) {
  const auto options = [](std::size_t count, const std::string& option) {
    std::string list = option;
    for (std::size_t i = 1; i < count; ++i) list += "," + option;
    return list;
  };
  const auto status = [](const std::string& fields) {
    return parse_requests("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n", 1 << 20).status;
  };
  EXPECT_EQ(status("Connection: " + options(32, "a") + "\r\n"), 0);
  EXPECT_EQ(status("Connection: " + options(33, "a") + "\r\n"), 400);
  EXPECT_EQ(status("Connection: " + options(33, "") + "\r\n"), 400) << "empty ones count";
  EXPECT_EQ(
      status("Connection: " + options(20, "a") + "\r\nConnection: " + options(20, "b") + "\r\n"),
      400)
      << "over all fields";
  ResponseParser response;
  response.reset(false);
  EXPECT_EQ(
      response.next("HTTP/1.1 204 No\r\nConnection: " + options(31'500, "") + "\r\n\r\n").event,
      ParseEvent::error);
  EXPECT_EQ(response.error().status, 502);
}

TEST(ResponseParser, reports_the_announced_keep_alive_time) {
  ResponseParser parser;
  parser.reset(false);
  ASSERT_EQ(parser.next("HTTP/1.1 204 No\r\nKeep-Alive: max=9, timeout=5\r\n\r\n").event,
            ParseEvent::head);
  EXPECT_EQ(parser.head().keep_alive_timeout_s, 5U);
}

TEST(HttpMessage, lists_are_read_element_by_element) {
  const std::vector<Field> fields = {{"Connection", "close , , X-A"}, {"connection", "keep-alive"}};
  EXPECT_TRUE(has_token(fields, "Connection", "x-a"));
  EXPECT_TRUE(has_token(fields, "Connection", "Keep-Alive"));
  EXPECT_FALSE(has_token(fields, "Connection", "X"));
}

}  // namespace
}  // namespace atlasflow::http
