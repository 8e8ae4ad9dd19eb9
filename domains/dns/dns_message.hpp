// An answer of a name server as values (RFC 1035 section 4): read from the bytes that came, which a
// stranger chose. Free functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::domains {

// IANA's numbers.
enum class DnsType : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  txt = 16,
  aaaa = 28,
  caa = 257
};

[[nodiscard]] std::string_view name_of(DnsType type);

struct DnsRecord {
  std::string name;  // lower case, no trailing dot
  DnsType type = DnsType::a;
  // A, AAAA: as text. CNAME, NS: a name, as above; SOA: that of the zone's primary server. TXT: its
  // strings joined. CAA: 0 issue "…".
  std::string value;
  friend bool operator==(const DnsRecord&, const DnsRecord&) = default;
};

struct DnsMessage {
  int response_code = 0;  // RFC 1035 section 4.1.1
  bool authoritative = false;
  std::vector<DnsRecord> answers;  // of the types above, in their order; others are passed over
};

// corrupt: the message is cut short, or points outside of itself.
[[nodiscard]] Result<DnsMessage> read_dns_message(std::string_view bytes);

// Printable text: what else is in a TXT or CAA record comes as \DDD (RFC 1035 section 5.1), and so
// does a backslash.
[[nodiscard]] std::string presentable(std::string_view bytes);

}  // namespace atlasflow::domains
