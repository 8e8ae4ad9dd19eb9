// Orders certificates from an ACME certificate authority, from the account to the stored chain.
// What is begun is in the store before the CA hears of it, so an order that is asked for again,
// after a crash at any moment, goes on with the same key and the same order. Owned by the
// composition root; any thread, several orders at once.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "domains/acme/acme_client.hpp"
#include "domains/acme/dns_proof.hpp"
#include "domains/certificates/certificate_store.hpp"
#include "events/ids.hpp"

namespace atlasflow::domains {

// Where a CA looks for the answers to its challenges. Called from the threads of orders.
class ChallengeBoard {
 public:
  virtual ~ChallengeBoard() = default;
  // Returns when GET http://<host>/.well-known/acme-challenge/<token> is answered with it.
  [[nodiscard]] virtual Result<void> put(const std::string& host, const std::string& token,
                                         const std::string& key_authorization) = 0;
  virtual void remove(const std::string& host, const std::string& token) = 0;
};

struct OrderRequest {
  EffectId effect;  // names the order for ever
  // Lower case, A-labels. With a wildcard among them, all are proved by DNS-01, as HTTP-01 proves
  // none.
  std::vector<std::string> names;
  std::string directory;  // the CA's; empty: the configuration's
  std::string renews;     // fingerprint; empty: none
  std::chrono::microseconds remaining{};
};

inline constexpr std::chrono::milliseconds k_identities_timeout{3'000};

using IssueResult = tl::expected<pb::CertificateIssued, pb::CertificateFailed>;

// How long name servers may take to show a record, within an order's own deadline.
inline constexpr std::chrono::milliseconds k_dns_wait_max{300'000};

// What the CA says of a certificate's renewal; actors::RenewalNews has the words.
struct RenewalNews {
  std::optional<pb::RenewalAdvised> advised;
  std::chrono::microseconds ask_again_in{};
  std::string trouble;
};

class Issuer {
 public:
  // dns: where wildcards are proved; null: nowhere, and none is ordered.
  Issuer(AcmeConfig config, CertificateStore& store, ChallengeBoard& board, TxtBoard* dns = nullptr)
      : config_(std::move(config)), store_(store), board_(board), dns_(dns) {}

  // Returns when chain and key are stored for good, or when it failed for good under this effect:
  // whoever wants to try again does so under another one. A CA that is away or has no time fails an
  // order that is not made yet; one that is made waits for it as long as `remaining` lasts. A stop
  // is CERTIFICATE_PROBLEM_ABANDONED and leaves everything to be gone on with.
  [[nodiscard]] IssueResult order(const OrderRequest& request, const std::stop_token& stop);

  // As the CA's directory told last; empty: it has told none. Does not block.
  [[nodiscard]] std::vector<std::string> caa_identities() const;
  // Asks the CA when it wants the certificate renewed (RFC 9773), within a minute.
  [[nodiscard]] RenewalNews renewal_news(const std::string& fingerprint,
                                         const std::stop_token& stop);
  // As its directory told last; true while it has told none. Does not block.
  [[nodiscard]] bool gives_renewal_advice() const;
  // Asks for them where nothing is known: for at most k_identities_timeout, and after a failure not
  // again for some minutes.
  void ask_caa_identities(const std::stop_token& stop);

 private:
  void keep_identities(const AcmeClient& client);
  [[nodiscard]] AcmeResult<void> enter_account(AcmeClient& client, const AcmeConfig& config);

  const AcmeConfig config_;
  CertificateStore& store_;
  ChallengeBoard& board_;
  TxtBoard* const dns_;
  mutable std::mutex identities_mutex_;
  std::optional<bool> knows_renewal_information_;
  std::vector<std::string> caa_identities_;
  // Nothing: they are known. Orders and look-ups read it, so nobody asks under the mutex.
  std::optional<std::chrono::steady_clock::time_point> ask_identities_at_{
      std::chrono::steady_clock::time_point{}};
};

}  // namespace atlasflow::domains
