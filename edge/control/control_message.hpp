// The calls of control.proto: between the edge's values and its messages, and one call from its
// beginning to its reply. Free functions; any thread.
#pragma once

#include <optional>
#include <string>

#include "edge/control/control.pb.h"
#include "edge/control/control_channel.hpp"
#include "edge/edge.hpp"

namespace atlasflow::edge {

[[nodiscard]] wire::Route to_wire(const Route& route);
[[nodiscard]] wire::RouteTable to_wire(const RouteTable& table);
[[nodiscard]] wire::HostCertificate to_wire(const HostCertificate& certificate);
[[nodiscard]] wire::Challenge to_wire(const Challenge& challenge);
[[nodiscard]] wire::TicketSecret to_wire(const TicketSecret& secret);
[[nodiscard]] wire::Config to_wire(const EdgeConfig& config);
[[nodiscard]] wire::Failure to_wire(const Error& error);

[[nodiscard]] Route from_wire(const wire::Route& route);
[[nodiscard]] RouteTable from_wire(const wire::RouteTable& table);
[[nodiscard]] HostCertificate from_wire(const wire::HostCertificate& certificate);
[[nodiscard]] Challenge from_wire(const wire::Challenge& challenge);
// Nothing: it is not as long as one is.
[[nodiscard]] std::optional<TicketSecret> from_wire(const wire::TicketSecret& secret);
[[nodiscard]] EdgeConfig from_wire(const wire::Config& config);
[[nodiscard]] Error from_wire(const wire::Failure& failure);

// Two edges with one digest answer alike. The first 12 hex digits of a SHA-256.
[[nodiscard]] std::string config_digest(const EdgeConfig& config);

// The one call of a fresh connection. Its failure is what the edge said, or unavailable.
[[nodiscard]] Result<wire::Reply> call(const FileDescriptor& socket, const wire::Request& request,
                                       Deadline deadline);

}  // namespace atlasflow::edge
