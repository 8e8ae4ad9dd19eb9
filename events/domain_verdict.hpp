// What the answers of name servers mean for a domain: whether it leads here, whether its owner is
// proved, and what is to be changed, in a sentence with what was found and what was expected. Pure.
#pragma once

#include <string>
#include <vector>

#include "events/event.pb.h"
#include "events/ids.hpp"

namespace atlasflow {

// One record that a domain's owner is to set.
struct WantedRecord {
  std::string name;
  std::string type;
  std::string value;
};

struct DomainExpectation {
  std::string name;                    // the domain
  std::string target;                  // "<project>.<the server's domain>"
  std::vector<std::string> addresses;  // of this server, as text
  std::string proof;                   // what its TXT record is to say
  bool proof_required = false;
  std::string take_over_proof;              // of another project that asks for it; empty: none does
  std::vector<std::string> caa_identities;  // of the CA; empty: not known, and not judged
  // The server's own: wherever it leads, only CAA is judged, for "*." below it as well.
  bool is_servers = false;
};

struct Judgement {
  pb::DomainVerdict verdict = pb::DOMAIN_VERDICT_UNSPECIFIED;
  std::string reason;      // empty: nothing is to be changed
  std::string caa_reason;  // why the CA must not issue; empty: it may, as far as is known
  bool take_over_proved = false;
};

// "_atlas-verify.<domain>", where the TXT record is.
[[nodiscard]] std::string ownership_name(const std::string& domain);
[[nodiscard]] std::string ownership_proof(const ProjectId& project, const std::string& token);

// What is to be set: either the CNAME or the addresses, then the TXT record. An apex can't have a
// CNAME (RFC 1034 section 3.6.2), so there the addresses come first.
struct WantedRecords {
  std::vector<WantedRecord> routing;  // the first choice
  std::vector<WantedRecord> instead;  // what does as well; empty: nothing
  std::vector<WantedRecord> proof;    // wanted as well when it is required
};
[[nodiscard]] WantedRecords wanted_records(const DomainExpectation& expected, bool is_apex);

// Two recursive servers must agree where two were asked; of the zone's own servers only the TXT
// record counts, and they outweigh the others.
[[nodiscard]] Judgement judge(const DomainExpectation& expected,
                              const pb::DnsObservation& observed);

// Whether two looks found the same, whoever answered in which order.
[[nodiscard]] bool same_records(const pb::DnsObservation& a, const pb::DnsObservation& b);

}  // namespace atlasflow
