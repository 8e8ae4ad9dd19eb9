#include "base/assert.hpp"
#include "http/parser.hpp"
#include "tests/edge/fuzz/forwarded.hpp"
#include "tests/edge/fuzz/pieces.hpp"
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
  std::string understood;
  const auto go_on = [&](http::ParseEvent event) {
    switch (event) {
      case http::ParseEvent::head:
        append_head(parser.head(), understood);
        check_forwarded(parser.head());
        return true;
      case http::ParseEvent::complete:
        understood += "\ncomplete\n";
        append_fields(parser.trailers(), understood);
        parser.reset();
        return true;
      default:
        ATLAS_ASSERT(parser.error().status >= 400, "an error has a status");
        // Of several faults in a head the one that is seen first gives the status, and that may
        // depend on how much of it was there.
        understood += "error";
        return false;
    }
  };
  (void)parse_in_pieces(parser, text, piece, understood, go_on);
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
