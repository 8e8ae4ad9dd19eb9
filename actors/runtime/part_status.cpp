#include "actors/runtime/part_status.hpp"

#include <algorithm>

namespace atlasflow::actors {

std::vector<ControlPlane::PartStatus> part_statuses(const storage::EventLog& log, Epoch epoch,
                                                    const Engines& engines,
                                                    const storage::Catalog& catalog) {
  const auto room = log.has_room();
  std::vector<ControlPlane::PartStatus> parts{
      {"log", room ? "ok" : "disk full",
       "position " + std::to_string(log.last_position().value()) + ", epoch " +
           std::to_string(epoch.value())},
      {"builder", "ok", engines.build->describe()}};
  for (const auto& [host, engine] : engines.hosts) {
    parts.push_back({"vm host " + host.str(), engine->ping() ? "ok" : "down", engine->describe()});
  }
  parts.push_back({"edge", "ok", engines.edge->describe()});
  const auto domains = catalog.domains();
  const auto claimed = std::count_if(domains.begin(), domains.end(),
                                     [](const DomainState& state) { return state.claimed; });
  if (engines.domains != nullptr && claimed > 0) {
    parts.push_back(
        {"domains", "ok",
         std::to_string(claimed) + " claimed, certificates: " + engines.domains->describe()});
  }
  for (const auto& [stream, reason] : catalog.quarantined()) {
    parts.push_back({stream, "quarantined", reason});
  }
  return parts;
}

std::optional<ControlPlane::PartStatus> own_certificate_status(const storage::Catalog& catalog,
                                                               const std::string& domain,
                                                               const DomainSettings& settings,
                                                               TimestampUs now) {
  const auto state = catalog.domain(domain);
  const auto own = own_certificate_of(state ? &*state : nullptr, domain, settings, now);
  if (!own) return std::nullopt;
  return ControlPlane::PartStatus{"certificate", own->ok ? "ok" : "waiting", own->text};
}

std::vector<ControlPlane::PartStatus> restarts_told(
    const std::vector<std::pair<TimestampUs, std::string>>& earlier, const PartFaults& faults,
    TimestampUs now) {
  constexpr TimestampUs k_told_us = TimestampUs{24} * 3600 * k_second_us;
  const auto seconds_since = [now](TimestampUs at) {  // a clock that was set back says 0
    return std::to_string(std::max<TimestampUs>(now - at, 0) / k_second_us) + " s ago";
  };
  std::vector<ControlPlane::PartStatus> told;
  for (const auto& [at, reason] : earlier) {
    if (at < now - k_told_us) continue;
    told.push_back({"server", "restarted", "by itself " + seconds_since(at) + ": " + reason});
  }
  for (const auto& fault : faults.list()) {
    if (fault.at < now - k_told_us) continue;
    const auto times = fault.count == 1 ? "once" : std::to_string(fault.count) + " times";
    told.push_back({fault.part, now < fault.again_at ? "restarting" : "restarted",
                    "died " + times + " since the server's start, last " + seconds_since(fault.at) +
                        ": " + fault.reason});
  }
  return told;
}

}  // namespace atlasflow::actors
