// What the server's owner has settled of users' own domains, and what follows from it for one of
// them. Values; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actors/domains/domain_engine.hpp"
#include "events/domain_ledger.hpp"

namespace atlasflow::actors {

struct DomainSettings {
  DomainRules rules;
  bool orders_own = false;  // a certificate for the server's own domain and all names below it
  std::vector<std::string> addresses;  // of this server, as A and AAAA records have them
};

// Of which domain a host of the edge's table is: the host, or what is behind its "*.".
[[nodiscard]] std::string domain_of_host(const std::string& host);

// What authorities count the new certificates of a name in the log by; engine: may be null, and
// nothing is known of public suffixes then.
[[nodiscard]] std::string registered_domain(const DomainEngine* engine, const std::string& name);

// How the certificate of the server's own domain stands, in a sentence; empty: none is wanted.
// state: of that domain, null where it has no event.
struct OwnCertificate {
  bool ok = false;
  std::string text;
};
[[nodiscard]] std::optional<OwnCertificate> own_certificate_of(const DomainState* state,
                                                               const std::string& domain,
                                                               const DomainSettings& settings,
                                                               TimestampUs now);

// The hostname of its project's production, where it leads. `domain` is the server's own.
[[nodiscard]] std::string target_of(const DomainState& state, const std::string& domain);

// What the records of a domain are to be, for its project. `domain` is the server's own.
[[nodiscard]] DomainExpectation expectation_of(const DomainState& state, const std::string& domain,
                                               const std::vector<std::string>& addresses);

// What a claimed domain's owner is to do, and what is to come.
struct DomainOutlook {
  WantedRecords wanted;
  bool proof_required = false;              // the TXT record is needed, too
  std::optional<WantedRecord> take_over;    // of another project that asks for the domain
  bool orders_certificates = false;         // the server knows an authority
  std::optional<TimestampUs> order_due_at;  // of its next certificate; nothing: none is due
  std::string order_directory;              // of the authority that it will be ordered from
  std::string order_held;                   // why not earlier; empty: no limit over names says so
  // Of the certificate that is shown, when it is nearer to its end than it should be, and why.
  pb::ExpiryStage expiry = pb::EXPIRY_STAGE_UNSPECIFIED;
  std::string expiry_reason;
};
[[nodiscard]] DomainOutlook outlook_of(const DomainState& state, const DomainEngine* engine,
                                       const std::string& domain, const DomainSettings& settings,
                                       TimestampUs now, const std::optional<HeldOrder>& held = {});

}  // namespace atlasflow::actors
