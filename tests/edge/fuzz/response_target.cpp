#include "base/assert.hpp"
#include "edge/http1/message_writer.hpp"
#include "http/parser.hpp"
#include "tests/edge/fuzz/forwarded.hpp"
#include "tests/edge/fuzz/pieces.hpp"
#include "tests/edge/fuzz/targets.hpp"

namespace atlasflow::edge::fuzz {
namespace {

constexpr unsigned char k_to_head = 0x80;

// As a client reads it: the same answer, and not one byte behind it.
void check_passed_on(const http::ResponseHead& head, bool to_head) {
  SlabPool slabs;
  Buffer sent(slabs);
  http::Framing framing = head.framing;
  if (framing == http::Framing::until_close) framing = http::Framing::chunked;
  write_response_head(head, framing, {.to_head = to_head}, sent);
  http::HttpLimits generous;
  generous.head_bytes_max *= 2;
  generous.fields_max *= 2;
  http::ResponseParser parser(generous);
  parser.reset(to_head);
  const http::ParseStep step = parser.next(sent.view());
  ATLAS_ASSERT(step.event == http::ParseEvent::head, parser.error().reason);
  ATLAS_ASSERT_EQ(step.consumed, sent.size());
  const http::ResponseHead& read = parser.head();
  ATLAS_ASSERT_EQ(read.status, head.status);
  ATLAS_ASSERT_EQ(static_cast<int>(read.framing), static_cast<int>(framing));
  // These have no body, whatever they announce, and the announcement goes no further.
  const bool bodiless = head.status < 200 || head.status == 204;
  ATLAS_ASSERT_EQ(read.content_length, bodiless ? 0 : head.content_length);
  ATLAS_ASSERT_EQ(read.upgrade_websocket, head.upgrade_websocket);
}

// All that was understood of an application's bytes, up to the end of one answer.
std::string read_response(std::string_view text, std::size_t piece, bool to_head) {
  http::ResponseParser parser;
  parser.reset(to_head);
  std::string understood;
  const auto go_on = [&](http::ParseEvent event) {
    const http::ResponseHead& head = parser.head();
    switch (event) {
      case http::ParseEvent::head:
        understood.append(std::to_string(head.status)).append(head.reason).append("\n");
        append_fields(head.fields, understood);
        check_passed_on(head, to_head);
        return true;
      case http::ParseEvent::complete:
        understood += "\ncomplete\n";
        append_fields(parser.trailers(), understood);
        if (head.status >= 200 || head.status == 101) return false;
        parser.reset(to_head);
        return true;
      default:
        understood += "no answer";
        return false;
    }
  };
  if (!parse_in_pieces(parser, text, piece, understood, go_on)) return understood;
  const bool whole = parser.finish().event == http::ParseEvent::complete;
  // A head that is hopeless may be found so before it is whole, or be cut.
  return understood + (whole ? "ended" : "no answer");
}

}  // namespace

void fuzz_response(std::string_view input) {
  if (input.empty()) return;
  const bool to_head = (static_cast<unsigned char>(input.front()) & k_to_head) != 0;
  const std::string_view bytes = input.substr(1);
  ATLAS_ASSERT_EQ(read_response(bytes, piece_of(input.front()), to_head),
                  read_response(bytes, std::string_view::npos, to_head));
}

}  // namespace atlasflow::edge::fuzz
