// Makes the text fields of a Protobuf message valid UTF-8 (RFC 3629). Any thread.
#pragma once

#include <google/protobuf/message.h>

namespace atlasflow::storage {

// Every byte of a string field, nested ones too, that is no UTF-8 becomes U+FFFD. proto3 serialises
// invalid text and refuses to parse it, so an event with, say, a Latin-1 author name would
// otherwise make the log unreadable.
void replace_invalid_utf8(google::protobuf::Message& message);

}  // namespace atlasflow::storage
