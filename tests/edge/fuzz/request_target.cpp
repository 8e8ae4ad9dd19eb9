#include "base/assert.hpp"
#include "http/parser.hpp"
#include "tests/edge/fuzz/forwarded.hpp"
#include "tests/edge/fuzz/targets.hpp"

namespace atlasflow::edge::fuzz {
namespace {

void append_head(const http::RequestHead& head, std::string& out) {
  out.append(head.method).append(" ").append(head.path).append(" ").append(head.authority);
  out += head.keep_alive ? " keep\n" : " close\n";
  append_fields(head.fields, out);
}

// All that was understood of a connection's bytes.
std::string read_requests(std::string_view text, std::size_t piece) {
  http::RequestParser parser;
  std::string input;
  std::string understood;
  while (!text.empty()) {
    input.append(text.substr(0, piece));
    text.remove_prefix(std::min(piece, text.size()));
    for (bool more = true; more;) {
      const http::ParseStep step = parser.next(input);
      ATLAS_ASSERT(step.consumed <= input.size(), "no more is consumed than there is");
      understood.append(step.body);
      input.erase(0, step.consumed);
      switch (step.event) {
        case http::ParseEvent::need_more:
          more = false;
          break;
        case http::ParseEvent::head:
          append_head(parser.head(), understood);
          check_forwarded(parser.head());
          break;
        case http::ParseEvent::body:
          ATLAS_ASSERT(!step.body.empty(), "a piece of a body has something in it");
          break;
        case http::ParseEvent::complete:
          understood += "\ncomplete\n";
          append_fields(parser.trailers(), understood);
          parser.reset();
          break;
        case http::ParseEvent::error:
          ATLAS_ASSERT(parser.error().status >= 400, "an error has a status");
          // Of several faults in a head the one that is seen first gives the status, and that may
          // depend on how much of it was there.
          return understood + "error";
      }
    }
  }
  return understood;
}

}  // namespace

void fuzz_request(std::string_view input) {
  if (input.empty()) return;
  const std::string_view bytes = input.substr(1);
  ATLAS_ASSERT_EQ(read_requests(bytes, piece_of(input.front())),
                  read_requests(bytes, std::string_view::npos));
}

}  // namespace atlasflow::edge::fuzz
