// Changes a zone by dynamic updates (RFC 2136), signed by TSIG: one TXT record at a time, so that
// what others have at the same name stays. Free functions; they block, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

#include "domains/dns/tsig.hpp"

namespace atlasflow::domains {

struct ZoneUpdate {
  std::string server;  // "192.0.2.53:53", the zone's primary
  TsigKey key;
  std::chrono::milliseconds per_try{3'000};
};

// Adds the record, or removes it; what is so already is no error. By UDP first, by TCP where that
// is not answered. Its zone is asked of the server. Errors, each with the server's address:
//   unauthorized   it refuses the key, or what the key may change
//   not_found      it has no zone with that name
//   timed_out, unavailable, corrupt, cancelled
[[nodiscard]] Result<void> add_text(const ZoneUpdate& update, const std::string& name,
                                    const std::string& value, const std::stop_token& stop);
[[nodiscard]] Result<void> remove_text(const ZoneUpdate& update, const std::string& name,
                                       const std::string& value, const std::stop_token& stop);

// The unsigned message of one update (RFC 2136 section 2).
enum class TextChange : std::uint8_t { add, remove };
[[nodiscard]] std::string update_message(std::uint16_t id, const std::string& zone,
                                         const std::string& name, const std::string& value,
                                         TextChange change);

}  // namespace atlasflow::domains
