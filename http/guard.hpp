// The rules over the raw bytes of a message head, stricter than any parser that is lenient by
// history: what a peer could read differently than we do is refused, so nothing can be smuggled
// past. Pure functions, any thread. RFC 9112 sections 2.2, 3, 5, 6; RFC 9110 sections 5, 7.2, 8.6.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.hpp"

namespace atlasflow::http {

// Parses a whole request head, `raw` = request line up to and including the empty line. On success
// `head` slices `raw` and `host_text` (which gets the normalised host). An error otherwise.
[[nodiscard]] std::optional<HttpError> parse_request_head(std::string_view raw,
                                                          const HttpLimits& limits,
                                                          RequestHead& head,
                                                          std::string& host_text);

// The same for a response; `to_head` says that it answers a HEAD request, so it has no body.
[[nodiscard]] std::optional<HttpError> parse_response_head(std::string_view raw,
                                                           const HttpLimits& limits, bool to_head,
                                                           ResponseHead& head);

// Parses field lines that each end in CRLF (a head's after its first line, or trailers).
[[nodiscard]] std::optional<HttpError> parse_fields(std::string_view lines, std::size_t fields_max,
                                                    std::vector<Field>& fields);

// Looks at a head that is not whole yet, from `checked` on, and refuses what can never become
// right, so that a peer that stops there gets its 400 and not a time-out. Moves `checked` on.
[[nodiscard]] std::optional<HttpError> check_partial_head(std::string_view raw,
                                                          std::size_t& checked);

// Splits and normalises an authority without userinfo: lower case, no port, no trailing dot. False
// when it is no registered name, IPv4 address or [IPv6 address] with an optional decimal port.
[[nodiscard]] bool normalise_host(std::string_view authority, std::string& host);

}  // namespace atlasflow::http
