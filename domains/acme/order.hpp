// One order at an ACME certificate authority, from its beginning or wherever it was left, to the
// stored chain. Used by domains/acme/issuer.hpp's threads, each for an order of its own; it blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
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
  // The same of TLS-ALPN-01 (RFC 8737): a handshake for <host> that offers acme-tls/1 only is
  // answered by it.
  [[nodiscard]] virtual Result<void> put_in_tls(const std::string& host, const std::string& token,
                                                const std::string& key_authorization) = 0;
  virtual void remove(const std::string& host, const std::string& token) = 0;
};

struct OrderRequest {
  EffectId effect;  // names the order for ever
  // Lower case, A-labels. With a wildcard among them, all are proved by DNS-01, as nothing else
  // proves one.
  std::vector<std::string> names;
  std::string directory;  // the CA's; empty: the configuration's
  std::string renews;     // fingerprint; empty: none
  std::chrono::microseconds remaining{};
  // By which challenge nothing could be proved here the last time; empty: none such is known.
  std::string unreached_by = {};
};

// Answers are taken back when the order ends, whatever its end is. An order that was only stopped
// leaves them: the CA may look while nobody is there to put them back.
class PostedAnswers {
 public:
  // dns: answers are TXT records, which the store keeps beside the order: they outlive a process
  // that dies. Null: they are tokens on the board.
  PostedAnswers(const OrderRequest& request, CertificateStore& store, ChallengeBoard& board,
                TxtBoard* dns, const std::stop_token& stop)
      : request_(request), store_(store), board_(board), dns_(dns), stop_(stop) {}
  ~PostedAnswers() {
    if (!stop_.stop_requested()) take_back();
  }
  PostedAnswers(const PostedAnswers&) = delete;
  PostedAnswers& operator=(const PostedAnswers&) = delete;

  [[nodiscard]] Result<void> put(const AcmeAuthorization& authorization, const std::string& answer);
  // One that an earlier run of the order may have left.
  void note(const std::string& host, const std::string& token, const std::string& answer) {
    add({host, token, dns_ == nullptr ? TxtProof{} : txt_proof(host, answer)});
  }
  // The same, as the store knows of it.
  void note(const std::vector<TxtProof>& left);
  [[nodiscard]] Result<void> wait_until_seen(std::chrono::milliseconds at_most) const {
    return dns_->wait_until_seen(waited_for_, at_most, stop_);
  }
  void take_back();

 private:
  struct Posted {
    std::string host;
    std::string token;
    TxtProof record;
  };
  void add(Posted posted);

  const OrderRequest& request_;
  CertificateStore& store_;
  ChallengeBoard& board_;
  TxtBoard* const dns_;
  const std::stop_token& stop_;
  std::vector<Posted> posted_;
  std::vector<TxtProof> waited_for_;  // those of this run
};

// Which challenges prove the names of an order, the best first.
[[nodiscard]] std::vector<std::string_view> challenges_for(const OrderRequest& request,
                                                           const AcmeConfig& config, bool by_dns);

class OrderProgress {
 public:
  // dns: null where the names are proved by being reached.
  OrderProgress(const OrderRequest& request, const AcmeConfig& config, CertificateStore& store,
                ChallengeBoard& board, TxtBoard* dns, AcmeClient& client, EVP_PKEY* account_key,
                const std::stop_token& stop)
      : request_(request),
        config_(config),
        store_(store),
        client_(client),
        account_key_(account_key),
        stop_(stop),
        until_(Clock::now() + request.remaining),
        by_dns_(dns != nullptr),
        challenges_(challenges_for(request, config, by_dns_)),
        posted_(request, store, board, dns, stop),
        poll_(config.poll_first) {}

  // Reads the CA's directory. For an order that the CA may have made it is waited for, which
  // counts against its limits and may have left records in a zone.
  [[nodiscard]] AcmeResult<void> open(const StoredOrder& stored);
  // After open(). Again, with the order as it is stored by then, where the CA knew no account.
  [[nodiscard]] AcmeResult<pb::CertificateIssued> run(StoredOrder stored);

 private:
  using Clock = std::chrono::steady_clock;
  struct Asked {
    std::string url;
    AcmeAuthorization authorization;
  };
  AcmeResult<AcmeOrder> begin(const StoredOrder& stored);
  AcmeResult<void> authorize();
  AcmeResult<AcmeAuthorization> authorization(const std::string& url) {
    return client_.authorization(url, challenges_);
  }
  AcmeResult<void> put(const AcmeAuthorization& authorization);
  AcmeResult<void> wait_for_dns();
  AcmeResult<void> accept(const std::string& url, AcmeAuthorization authorization);
  void note(const AcmeAuthorization& authorization);
  void tell_of_connection(AcmeError& error, std::string_view challenge) const;
  AcmeResult<void> wait_for_authorization(const std::string& url);
  AcmeResult<void> finalize(EVP_PKEY* key);
  [[nodiscard]] std::string preferred(AcmeChain chain);
  AcmeResult<pb::CertificateIssued> fetch(EVP_PKEY* key);
  AcmeResult<void> pause(std::optional<std::int64_t> ask_again_at_us);
  AcmeResult<void> outwait(const AcmeError& error);
  template <typename Ask>
  auto ask_patiently(Ask ask) -> decltype(ask());
  [[nodiscard]] std::string replaced_id();

  const OrderRequest& request_;
  const AcmeConfig& config_;
  CertificateStore& store_;
  AcmeClient& client_;
  EVP_PKEY* account_key_;
  const std::stop_token& stop_;
  const Clock::time_point until_;
  const bool by_dns_;
  const std::vector<std::string_view> challenges_;  // that do, the best first
  PostedAnswers posted_;
  bool resumed_ = false;  // an earlier run of the same order may have left answers
  AcmeOrder order_;
  std::chrono::milliseconds poll_;
};

// How long name servers may take to show a record, within an order's own deadline.
inline constexpr std::chrono::milliseconds k_dns_wait_max{300'000};

}  // namespace atlasflow::domains
