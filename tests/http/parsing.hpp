// Bytes in, what the parsers made of them out.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "http/parser.hpp"

namespace atlasflow::http {

struct Parsed {
  int status = 0;  // 0: accepted
  int messages = 0;
  std::vector<std::string> lines;  // "GET /path host" for each message
  std::string body;
  std::string trailers;
  std::string left;  // not consumed

  friend bool operator==(const Parsed&, const Parsed&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Parsed& parsed) {
    out << "status " << parsed.status << ", messages " << parsed.messages;
    for (const auto& line : parsed.lines) out << ", " << line;
    return out << ", body '" << parsed.body << "'";
  }
};

inline Parsed parse_requests(std::string_view text, std::size_t read_bytes,
                             HttpLimits limits = {}) {
  RequestParser parser(limits);
  Parsed parsed;
  std::string input;
  while (!text.empty()) {
    input.append(text.substr(0, read_bytes));
    text.remove_prefix(std::min(read_bytes, text.size()));
    for (;;) {
      const ParseStep step = parser.next(input);
      parsed.body.append(step.body);
      input.erase(0, step.consumed);
      if (step.event == ParseEvent::need_more) break;
      if (step.event == ParseEvent::head) {
        const RequestHead& head = parser.head();
        parsed.lines.push_back(std::string(head.method) + " " + std::string(head.path) + " " +
                               std::string(head.host));
      } else if (step.event == ParseEvent::complete) {
        ++parsed.messages;
        for (const Field& field : parser.trailers()) {
          parsed.trailers += std::string(field.name) + "=" + std::string(field.value) + ";";
        }
        parser.reset();
      } else if (step.event == ParseEvent::error) {
        parsed.status = parser.error().status;
        return parsed;
      }
    }
  }
  parsed.left = input;
  return parsed;
}

// The outcome must not depend on where the network cut the bytes.
inline Parsed parse(const std::string& text, HttpLimits limits = {}) {
  const Parsed whole = parse_requests(text, std::string::npos, limits);
  for (std::size_t read_bytes : {1U, 2U, 3U, 7U}) {
    EXPECT_EQ(parse_requests(text, read_bytes, limits), whole) << "reads of " << read_bytes;
  }
  return whole;
}

inline std::string get(const std::string& fields) { return "GET / HTTP/1.1\r\n" + fields + "\r\n"; }
inline std::string chunked(const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

struct Response {
  bool error = false;
  int status = 0;
  std::string body;
  bool keep_alive = false;
};

}  // namespace atlasflow::http
