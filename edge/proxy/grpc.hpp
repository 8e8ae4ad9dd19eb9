// What the edge knows of gRPC (gRPC over HTTP/2, doc/PROTOCOL-HTTP2.md of grpc/grpc): which
// requests are of it, how long their clients wait, and how an answer in the edge's own name is said
// to them. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow::edge {

// A Content-Type of "application/grpc", alone or with "+proto", ";…". (gRPC-Web is something else.)
[[nodiscard]] bool is_grpc(std::string_view content_type);

// grpc-timeout in milliseconds, rounded up: at most eight digits and one of HMSmun. nullopt: it is
// none.
[[nodiscard]] std::optional<std::int64_t> grpc_timeout_ms(std::string_view text);

// The status that stands for what the edge would have answered to others.
[[nodiscard]] int grpc_status_of(int http_status);
// And for the code with which an application has reset a stream before its answer.
[[nodiscard]] int grpc_status_of_reset(std::uint32_t http2_code);

// Percent-encoded as grpc-message wants it.
[[nodiscard]] std::string grpc_message(std::string_view text);

}  // namespace atlasflow::edge
