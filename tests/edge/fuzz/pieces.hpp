// Bytes as the network cuts them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/assert.hpp"
#include "http/parser.hpp"

namespace atlasflow::edge::fuzz {

// How long the pieces are into which an input is cut: 1 to 64 bytes.
[[nodiscard]] inline std::size_t piece_of(char first) {
  return 1 + (static_cast<unsigned char>(first) & 63U);
}

// Gives the parser one piece after the other, adds each body to what was understood and calls
// `go_on` for whatever else the parser finds, until that is false. Whether it never was.
template <typename Parser, typename GoOn>
[[nodiscard]] bool parse_in_pieces(Parser& parser, std::string_view text, std::size_t piece,
                                   std::string& understood, const GoOn& go_on) {
  std::string input;
  while (!text.empty()) {
    input.append(text.substr(0, piece));
    text.remove_prefix(std::min(piece, text.size()));
    for (;;) {
      const http::ParseStep step = parser.next(input);
      ATLAS_ASSERT(step.consumed <= input.size(), "no more is consumed than there is");
      understood.append(step.body);
      const bool body_is_empty = step.body.empty();
      input.erase(0, step.consumed);
      if (step.event == http::ParseEvent::need_more) break;
      if (step.event == http::ParseEvent::body) {
        ATLAS_ASSERT(!body_is_empty, "a piece of a body has something in it");
      } else if (!go_on(step.event)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace atlasflow::edge::fuzz
