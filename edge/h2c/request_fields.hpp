// A request's head as an application that speaks HTTP/2 gets it (RFC 9113 section 8.3): hop-by-hop
// fields taken out, the identity of the client put in. What http1/message_writer.hpp does for the
// others. Pure; the worker's thread.
#pragma once

#include "edge/http1/message_writer.hpp"
#include "edge/http2/field_list.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

void add_request_fields(const http::RequestHead& head, const ClientIdentity& client,
                        FieldList& out);

}  // namespace atlasflow::edge
