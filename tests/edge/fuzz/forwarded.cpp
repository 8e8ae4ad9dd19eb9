#include "tests/edge/fuzz/forwarded.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "edge/http1/message_writer.hpp"
#include "edge/proxy/field_rules.hpp"
#include "http/parser.hpp"

namespace atlasflow::edge::fuzz {
namespace {

constexpr ClientIdentity k_client{"192.0.2.1", true, 443, "an-id"};

// What is added to a head is beyond what a client may send.
http::HttpLimits generous() {
  http::HttpLimits limits;
  limits.head_bytes_max *= 2;
  limits.fields_max *= 2;
  return limits;
}

void check_said_once(const http::RequestHead& head, std::string_view name, std::string_view value) {
  const auto count = std::count_if(
      head.fields.begin(), head.fields.end(),
      [&](const http::Field& field) { return field_name::same_name(field.name, name); });
  ATLAS_ASSERT_EQ(count, 1);
  ATLAS_ASSERT_EQ(http::find_field(head.fields, name)->value, value);
}

}  // namespace

void check_forwarded(const http::RequestHead& head) {
  // The edge answers these itself.
  if (head.host.empty() || head.path == "*") return;
  if (check_connection_options(head.connection_options)) return;
  SlabPool slabs;
  Buffer sent(slabs);
  write_request_head(head, k_client, sent);
  http::RequestParser parser(generous());
  const http::ParseStep step = parser.next(sent.view());
  ATLAS_ASSERT(step.event == http::ParseEvent::head, parser.error().reason);
  ATLAS_ASSERT_EQ(step.consumed, sent.size());
  const http::RequestHead& read = parser.head();
  ATLAS_ASSERT_EQ(read.method, head.method);
  ATLAS_ASSERT_EQ(read.target, head.path);
  ATLAS_ASSERT_EQ(read.host, head.host);
  ATLAS_ASSERT_EQ(read.authority, head.authority);
  ATLAS_ASSERT_EQ(static_cast<int>(read.framing), static_cast<int>(head.framing));
  ATLAS_ASSERT_EQ(read.content_length, head.content_length);
  ATLAS_ASSERT_EQ(read.expect_continue, head.expect_continue);
  ATLAS_ASSERT_EQ(read.upgrade_websocket, head.upgrade_websocket);
  ATLAS_ASSERT_EQ(read.minor_version, 1);
  check_said_once(read, "x-forwarded-for", k_client.address);
  check_said_once(read, "x-forwarded-proto", "https");
  check_said_once(read, "x-forwarded-host", head.authority);
  check_said_once(read, "x-real-ip", k_client.address);
  check_said_once(read, "x-request-id", k_client.request_id);
}

void append_fields(const std::vector<http::Field>& fields, std::string& out) {
  for (const http::Field& field : fields) {
    out.append(field.name).append(": ").append(field.value).append("\n");
  }
}

}  // namespace atlasflow::edge::fuzz
