#include <optional>

#include "base/assert.hpp"
#include "edge/http1/message_writer.hpp"
#include "edge/http2/request_builder.hpp"
#include "http/body.hpp"
#include "tests/edge/fuzz/forwarded.hpp"
#include "tests/edge/fuzz/targets.hpp"

namespace atlasflow::edge::fuzz {
namespace {

// The next text and its NUL. Empty when there is none.
std::optional<std::string_view> take_text(std::string_view& input) {
  const std::size_t end = input.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view text = input.substr(0, end);
  input.remove_prefix(end + 1);
  return text;
}

// As an application reads them: a chunked body's end and nothing behind it.
void check_trailers(const std::vector<http::Field>& trailers) {
  SlabPool slabs;
  Buffer sent(slabs);
  write_last_chunk(trailers, sent);
  http::BodyDecoder decoder;
  decoder.start(http::Framing::chunked, 0, UINT64_MAX);
  std::string_view bytes = sent.view();
  for (;;) {
    const auto step = decoder.next(bytes);
    bytes.remove_prefix(step.consumed);
    if (step.kind == http::BodyDecoder::Step::Kind::complete) break;
    // More of them than an HTTP/1 client may send are refused there.
    if (step.kind == http::BodyDecoder::Step::Kind::error) return;
    ATLAS_ASSERT(step.kind != http::BodyDecoder::Step::Kind::need_more, "the end is there");
  }
  ATLAS_ASSERT_EQ(bytes, "");
}

}  // namespace

void fuzz_http2(std::string_view input) {
  if (input.empty()) return;
  const bool has_body = (static_cast<unsigned char>(input.front()) & 1U) != 0;
  input.remove_prefix(1);
  const http::HttpLimits limits;
  RequestBuilder builder(limits);
  std::string method;
  std::string path;
  bool trailers = false;
  while (const auto name = take_text(input)) {
    trailers = trailers || name->empty();
    if (name->empty()) continue;
    const auto value = take_text(input);
    if (!value) break;
    if (trailers) {
      builder.add_trailer(*name, *value);
      continue;
    }
    // nghttp2 lets none of these come so far (RFC 9113 section 8.2.2).
    if (*name == "connection" || *name == "upgrade" || *name == "transfer-encoding") continue;
    if (*name == ":method") method = *value;
    if (*name == ":path") path = *value;
    builder.add_field(*name, *value);
  }
  const bool websocket = builder.asks_for_websocket();
  if (websocket) builder.give_websocket_key("dGhlIHNhbXBsZSBub25jZQ==");
  if (const auto error = builder.finish(has_body)) {
    ATLAS_ASSERT(error->status >= 400, "an error has a status");
    return;
  }
  const http::RequestHead& head = builder.head();
  ATLAS_ASSERT_EQ(head.method, websocket ? "GET" : method);
  ATLAS_ASSERT_EQ(head.path, path);
  ATLAS_ASSERT_EQ(head.upgrade_websocket, websocket);
  const bool framed = head.framing != http::Framing::none;
  ATLAS_ASSERT(!framed || has_body || head.framing == http::Framing::length,
               "only a body without a length is chunked");
  check_forwarded(head);
  check_trailers(builder.trailers());
}

}  // namespace atlasflow::edge::fuzz
