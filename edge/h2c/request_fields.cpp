#include "edge/h2c/request_fields.hpp"

#include <string>

namespace atlasflow::edge {

void add_request_fields(const http::RequestHead& head, const ClientIdentity& client,
                        FieldList& out) {
  out.add(":method", head.method);
  // What the connection is; the client's is in x-forwarded-proto.
  out.add(":scheme", "http");
  out.add(":authority", head.authority);
  out.add(":path", head.path);
  for (const http::Field& field : head.fields) {
    if (!is_passed_on(field, head, client)) continue;
    out.add(field.name, field.value);
  }
  // The only word of TE that HTTP/2 has (section 8.2.2). A gRPC server refuses a request without.
  if (http::has_token(head.fields, "TE", "trailers")) out.add("te", "trailers");
  if (head.expect_continue) out.add("expect", "100-continue");
  if (head.framing == http::Framing::length) {
    out.add("content-length", std::to_string(head.content_length));
  } else if (head.framing == http::Framing::none &&
             http::find_field(head.fields, "Content-Length") != nullptr) {
    out.add("content-length", "0");
  }
  out.add("x-forwarded-for", client.address);
  out.add("x-forwarded-proto", client.https ? "https" : "http");
  out.add("x-forwarded-host", head.authority);
  out.add("x-forwarded-port", std::to_string(client.port));
  out.add("x-real-ip", client.address);
  // It never comes again, so the application's table need not remember it.
  out.add("x-request-id", client.request_id, NGHTTP2_NV_FLAG_NO_INDEX);
}

}  // namespace atlasflow::edge
