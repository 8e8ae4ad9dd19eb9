// The world outside of domains, as the domain keeper calls it: name servers, certificate
// authority, the sealed store of keys, and the edge's certificates. The composition root gives a
// real one (over domains/ and edge/), the simulator its own. Every call but name_of() may block and
// comes from a worker thread; thread-safe.
//
// No secret comes out of it: a certificate is named by its fingerprint, and its key never leaves
// the store of who implements this but for the edge.
#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"

namespace atlasflow::actors {

struct DomainName {
  std::string name;          // as the log has it: lower case, A-labels, no trailing dot
  std::string display_name;  // U-labels; the same for most
  // A public suffix and one label: its owner usually has A records, as a CNAME can't stand there.
  bool is_apex = false;
  // The public suffix and one label, as "example.co.uk": who registered that has all names below
  // it, and certificate authorities count by it. Empty: the name itself.
  std::string registered = {};
};

struct CertificateJob {
  // Names the order for ever: the store keeps the order's URL and the key under it, before the CA
  // hears of them.
  EffectId effect;
  // The first is the domain. With "*." and the domain among them, all are proved by DNS-01.
  std::vector<std::string> names;
  std::string directory;  // the CA's ACME directory, as the intent in the log has it
  std::string renews;     // fingerprint; empty: the domain has none yet
  std::chrono::microseconds remaining{};  // until the intent's deadline
  // By which challenge a CA could not prove the domain the last time; empty: none is known.
  std::string unreached_by = {};
};

// A failure of an order. `certificate_failed.retry_at_us` is set only when the CA named a time.
using IssueResult = tl::expected<pb::CertificateIssued, pb::CertificateFailed>;

// What a user brings, as PEM.
struct CertificateUpload {
  std::string chain;
  std::string key;  // secret
};

// What the CA says of a certificate's renewal (ARI, RFC 9773). A failure is no more than that: the
// certificate is renewed by its age then.
struct RenewalNews {
  std::optional<pb::RenewalAdvised> advised;  // nothing: it gave no advice
  // Until it is asked again: the CA's Retry-After, or what is usual.
  std::chrono::microseconds ask_again_in{};
  std::string trouble;  // why there is none, as a sentence; empty: the CA just gives none
};

struct CertificateChoice {
  std::string domain;  // or "*." and one
  std::string fingerprint;
  friend bool operator==(const CertificateChoice&, const CertificateChoice&) = default;
};
struct PublishedCertificates {
  // Those that the edge shows now: a handshake for each new one has been answered with it.
  std::vector<CertificateChoice> shown;
  // The store has no usable key or chain for these, and never will: they are to be ordered anew.
  std::vector<std::pair<CertificateChoice, std::string>> lost;  // with the reason, a sentence
};

class DomainEngine {
 public:
  virtual ~DomainEngine() = default;

  // The name that a person typed, or why it can't be a domain of theirs, as a sentence that says
  // what to do: an address, a public suffix, too long, no name at all. Does not block.
  [[nodiscard]] virtual Result<DomainName> name_of(const std::string& typed) const = 0;

  // What the name servers say of it now: at least two recursive resolvers where there are two, and
  // the zone's own for TXT. Asked are A and AAAA of `domain` with the chain of CNAMEs that leads
  // there (each link a record of its own, at most 8), TXT of `ownership_name`, and CAA, climbing to
  // the top (RFC 8659 section 3). Who did not answer is in it with an error; a failure means that
  // nothing could be asked at all. Ends within 15 s.
  [[nodiscard]] virtual Result<pb::DnsObservation> look_up(const std::string& domain,
                                                           const std::string& ownership_name,
                                                           std::stop_token stop) = 0;

  // Orders the certificate, answers the CA's challenges, and returns when its key and chain are
  // stored for good. Idempotent by effect: one that is stored is returned, the CA is not asked, one
  // that was begun goes on with the same order and key. So a process that is killed at any moment
  // and asks again has ordered once. A stop leaves the order as it is, to be gone on with: the
  // answer is CERTIFICATE_PROBLEM_ABANDONED then, and nobody records it.
  [[nodiscard]] virtual IssueResult order(const CertificateJob& job, std::stop_token stop) = 0;

  // Asks the CA, by its ACME directory, when it wants this certificate of its own renewed. Ends
  // within 60 s.
  [[nodiscard]] virtual RenewalNews renewal_news(const std::string& fingerprint,
                                                 const std::string& directory,
                                                 std::stop_token stop) = 0;
  // Whether that CA gives such advice at all, as far as it is known; true while it is not. Asks
  // nobody.
  [[nodiscard]] virtual bool gives_renewal_advice(const std::string& directory) const = 0;

  // Gives the server's account at that CA another key; the answer is its thumbprint (RFC 7638), no
  // secret. Ends within a minute. conflict: it can't be changed now, or there, and why.
  [[nodiscard]] virtual Result<std::string> change_account_key(const std::string& directory,
                                                               std::stop_token stop) = 0;

  // Checks a certificate that a user brings for this domain, and keeps it with its key, sealed; on
  // disk for good when this returns. It stays long enough to be recorded, whatever keep_only() is
  // told meanwhile. invalid_argument: a sentence with what was found and what is expected.
  [[nodiscard]] virtual Result<pb::CertificateIssued> keep_upload(
      const std::string& domain, const CertificateUpload& upload) = 0;

  // Makes this the whole table of certificates that the edge shows beside its own, and returns when
  // every worker uses it. What is in it already is not touched. unavailable: try again. A
  // call that comes late, behind one that was made after it, changes nothing and is unavailable.
  [[nodiscard]] virtual Result<PublishedCertificates> publish(
      const std::vector<CertificateChoice>& table) = 0;

  // Removes from the store what neither list names, nor an order that runs now is about: a call
  // that was given up may come late.
  [[nodiscard]] virtual Result<void> keep_only(const std::set<std::string>& fingerprints,
                                               const std::set<EffectId>& unfinished) = 0;

  // Names of that CA in CAA records (its directory's caaIdentities), as far as they are known. Asks
  // nobody: a look-up does, at most now and then.
  [[nodiscard]] virtual std::vector<std::string> caa_identities(
      const std::string& directory) const = 0;

  [[nodiscard]] virtual std::string describe() const = 0;
};

}  // namespace atlasflow::actors
