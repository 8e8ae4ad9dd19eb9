// Makes the text fields of a Protobuf message valid UTF-8 (RFC 3629). Any thread.
#pragma once

#include <string>
#include <string_view>

#include <google/protobuf/message.h>

namespace atlasflow::storage {

// Every byte that belongs to no valid sequence becomes U+FFFD.
[[nodiscard]] std::string to_valid_utf8(std::string_view text);

// The same for every string field, nested ones too. proto3 serialises invalid text and refuses to
// parse it, so an event with, say, a Latin-1 author name would otherwise make the log unreadable.
void replace_invalid_utf8(google::protobuf::Message& message);

}  // namespace atlasflow::storage
