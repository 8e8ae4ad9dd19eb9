// Orders certificates from ACME certificate authorities, from the account to the stored chain.
// What is begun is in the store before the CA hears of it, so an order that is asked for again,
// after a crash at any moment, goes on with the same key and the same order. Owned by the
// composition root; any thread, several orders at once.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "domains/acme/order.hpp"

namespace atlasflow::domains {

inline constexpr std::chrono::milliseconds k_identities_timeout{3'000};

using IssueResult = tl::expected<pb::CertificateIssued, pb::CertificateFailed>;

// What the CA says of a certificate's renewal; actors::RenewalNews has the words.
struct RenewalNews {
  std::optional<pb::RenewalAdvised> advised;
  std::chrono::microseconds ask_again_in{};
  std::string trouble;
};

class Issuer {
 public:
  // dns: where wildcards are proved; null: nowhere, and none is ordered. others: authorities beside
  // the first, each with an account of its own.
  Issuer(AcmeConfig config, CertificateStore& store, ChallengeBoard& board, TxtBoard* dns = nullptr,
         std::vector<AcmeConfig> others = {})
      : config_(std::move(config)),
        others_(std::move(others)),
        store_(store),
        board_(board),
        dns_(dns) {}

  // Returns when chain and key are stored for good, or when it failed for good under this effect:
  // whoever wants to try again does so under another one. A CA that is away or has no time fails an
  // order that is not made yet; one that is made waits for it as long as `remaining` lasts. A stop
  // is CERTIFICATE_PROBLEM_ABANDONED and leaves everything to be gone on with.
  [[nodiscard]] IssueResult order(const OrderRequest& request, const std::stop_token& stop);

  // ---- of one authority; directory: its URL, empty: the first one's ----

  // Gives this server's account there another key (RFC 8555 section 7.3.5); the answer is the new
  // one's thumbprint (RFC 7638). An order that is under way is waited for, some seconds. Whatever
  // happens meanwhile, the account is not lost: after a failure, or in another life, the next order
  // finds out which key it is.
  [[nodiscard]] AcmeResult<std::string> change_account_key(const std::string& directory,
                                                           const std::stop_token& stop);
  // As its directory told last; empty: it has told none. Does not block.
  [[nodiscard]] std::vector<std::string> caa_identities(const std::string& directory = {}) const;
  // Asks it when it wants the certificate renewed (RFC 9773), within a minute. Before the time
  // that it named, also to an earlier process, what it said then is the answer.
  [[nodiscard]] RenewalNews renewal_news(const std::string& fingerprint,
                                         const std::string& directory, const std::stop_token& stop);
  // As its directory told last; true while it has told none. Does not block.
  [[nodiscard]] bool gives_renewal_advice(const std::string& directory = {}) const;
  // Asks all of them for their identities where nothing is known: each for at most
  // k_identities_timeout, and after a failure not again for some minutes.
  void ask_caa_identities(const std::stop_token& stop);

 private:
  struct Known {
    std::optional<bool> gives_renewal_advice;
    std::vector<std::string> caa_identities;
    // Nothing: they are known. Orders and look-ups read it, so nobody asks under the mutex.
    std::optional<std::chrono::steady_clock::time_point> ask_at{
        std::chrono::steady_clock::time_point{}};
  };
  // That of the directory. One that the configuration does not name any more is asked as the first
  // is.
  [[nodiscard]] AcmeConfig config_of(const std::string& directory) const;
  void ask_caa_identities(const AcmeConfig& authority, const std::stop_token& stop);
  void keep_identities(const std::string& directory, const AcmeClient& client);
  [[nodiscard]] const Known* known_of(const std::string& directory) const;
  void ask_for_renewal(const std::string& fingerprint, const std::string& directory,
                       const std::stop_token& stop, RenewalNews& news);
  [[nodiscard]] AcmeResult<void> enter_account(AcmeClient& client, const AcmeConfig& config);
  [[nodiscard]] static AcmeResult<bool> is_key_of(EVP_PKEY* key, const std::string& account,
                                                  const AcmeConfig& config,
                                                  const std::stop_token& stop);
  // Asks the CA whether it knows an account's next key, and leaves that one alone then. Where it
  // does not, or not yet, both stay, and the old one is gone on with.
  [[nodiscard]] AcmeResult<void> settle_key_change(const AcmeConfig& config, StoredAccount& account,
                                                   const std::stop_token& stop);
  [[nodiscard]] AcmeResult<void> end_key_change(const AcmeConfig& config, StoredAccount& account,
                                                bool take_next);
  // settle_key_change() before an order. One that the CA may have made waits for the CA as long as
  // that.
  [[nodiscard]] AcmeResult<void> settle_before(const OrderRequest& request, bool is_made,
                                               const AcmeConfig& config, StoredAccount& account,
                                               const std::stop_token& stop);

  const AcmeConfig config_;
  const std::vector<AcmeConfig> others_;
  CertificateStore& store_;
  ChallengeBoard& board_;
  TxtBoard* const dns_;
  // Whoever orders shares it; who changes an account's key has it alone.
  std::shared_timed_mutex account_mutex_;
  mutable std::mutex known_mutex_;
  std::map<std::string, Known> known_;  // by directory
};

}  // namespace atlasflow::domains
