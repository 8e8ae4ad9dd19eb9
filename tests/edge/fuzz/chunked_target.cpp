#include <optional>

#include "base/assert.hpp"
#include "edge/http1/message_writer.hpp"
#include "edge/proxy/field_rules.hpp"
#include "http/body.hpp"
#include "tests/edge/fuzz/forwarded.hpp"
#include "tests/edge/fuzz/pieces.hpp"
#include "tests/edge/fuzz/targets.hpp"

namespace atlasflow::edge::fuzz {
namespace {

using Kind = http::BodyDecoder::Step::Kind;

struct Decoded {
  std::string body;
  std::string trailers;
  std::string left;
  std::optional<int> error;
  bool complete = false;
};

Decoded decode(std::string_view text, std::size_t piece) {
  http::BodyDecoder decoder;
  decoder.start(http::Framing::chunked, 0, UINT64_MAX);
  Decoded decoded;
  std::string input;
  while (!text.empty() || !input.empty()) {
    input.append(text.substr(0, piece));
    const bool last = text.empty();
    text.remove_prefix(std::min(piece, text.size()));
    for (bool more = true; more;) {
      const auto step = decoder.next(input);
      ATLAS_ASSERT(step.consumed <= input.size(), "no more is consumed than there is");
      decoded.body.append(step.data);
      input.erase(0, step.consumed);
      if (step.kind == Kind::error) {
        decoded.error = decoder.error().status;
        return decoded;
      }
      if (step.kind == Kind::complete) {
        decoded.complete = true;
        append_fields(decoder.trailers(), decoded.trailers);
        decoded.left = input.append(text);
        return decoded;
      }
      more = step.kind != Kind::need_more;
    }
    if (last) break;
  }
  return decoded;
}

// What is written of it for the other side is read there as the same body.
void check_rewritten(const Decoded& decoded) {
  SlabPool slabs;
  Buffer sent(slabs);
  if (!decoded.body.empty()) write_chunk(decoded.body, sent);
  write_last_chunk({}, sent);
  const Decoded read = decode(sent.view(), std::string_view::npos);
  ATLAS_ASSERT(read.complete, "what the edge writes is whole");
  ATLAS_ASSERT_EQ(read.body, decoded.body);
  ATLAS_ASSERT_EQ(read.left, "");
}

}  // namespace

void fuzz_chunked(std::string_view input) {
  if (input.empty()) return;
  const std::string_view bytes = input.substr(1);
  const Decoded whole = decode(bytes, std::string_view::npos);
  const Decoded cut = decode(bytes, piece_of(input.front()));
  ATLAS_ASSERT_EQ(cut.complete, whole.complete);
  ATLAS_ASSERT_EQ(cut.error.has_value(), whole.error.has_value());
  ATLAS_ASSERT_EQ(cut.body, whole.body);
  ATLAS_ASSERT_EQ(cut.trailers, whole.trailers);
  ATLAS_ASSERT_EQ(cut.left, whole.left);
  if (whole.complete) check_rewritten(whole);
}

}  // namespace atlasflow::edge::fuzz
