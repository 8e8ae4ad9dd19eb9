// The rules that the targets share.
#pragma once

#include <string>
#include <string_view>

#include "http/message.hpp"

namespace atlasflow::edge::fuzz {

// A taken request's head, as it is sent to an application and read there: the same request, the
// client's identity the edge's word, and not one byte behind it.
void check_forwarded(const http::RequestHead& head);

// For transcripts that are compared.
void append_fields(const std::vector<http::Field>& fields, std::string& out);

}  // namespace atlasflow::edge::fuzz
