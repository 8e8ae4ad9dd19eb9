// What `atlasflow status` says of the parts, and of those that died and were started again. Free
// functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actors/runtime/control_plane.hpp"
#include "actors/runtime/root.hpp"

namespace atlasflow::actors {

[[nodiscard]] std::vector<ControlPlane::PartStatus> part_statuses(const storage::EventLog& log,
                                                                  Epoch epoch,
                                                                  const Engines& engines,
                                                                  const storage::Catalog& catalog);

// Of the server's own domain; nothing where no certificate is wanted for it.
[[nodiscard]] std::optional<ControlPlane::PartStatus> own_certificate_status(
    const storage::Catalog& catalog, const std::string& domain, const DomainSettings& settings,
    TimestampUs now);

// What died and was started again within a day, one entry each. earlier: when the processes before
// started anew, and why.
[[nodiscard]] std::vector<ControlPlane::PartStatus> restarts_told(
    const std::vector<std::pair<TimestampUs, std::string>>& earlier, const PartFaults& faults,
    TimestampUs now);

}  // namespace atlasflow::actors
