// Users' own domains, and the server's, over domains/ and edge/: name servers, the certificate
// authority, the sealed store and what the edge shows. Owned by the composition root; thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/domains/domain_engine.hpp"
#include "domains/acme/issuer.hpp"
#include "domains/certificates/certificate_store.hpp"
#include "domains/dns/lookup.hpp"
#include "edge/edge.hpp"

namespace atlasflow::server {

// Answers the authority's challenges at the edge, which takes the whole list each time. What an
// order that was stopped left there stays: the authority may look while the server is down.
class EdgeChallenges final : public domains::ChallengeBoard {
 public:
  explicit EdgeChallenges(edge::Edge& edge) : edge_(edge) {}

  Result<void> put(const std::string& host, const std::string& token,
                   const std::string& key_authorization) override {
    return put(edge::Challenge{host, token, key_authorization});
  }
  Result<void> put_in_tls(const std::string& host, const std::string& token,
                          const std::string& key_authorization) override {
    return put(edge::Challenge{host, token, key_authorization, true});
  }
  void remove(const std::string& host, const std::string& token) override;

 private:
  [[nodiscard]] Result<void> put(edge::Challenge challenge);

  edge::Edge& edge_;
  std::mutex mutex_;
  std::vector<edge::Challenge> challenges_;
};

class LocalDomainEngine final : public actors::DomainEngine {
 public:
  struct Config {
    domains::AcmeConfig acme;
    std::optional<domains::AcmeConfig> fallback = {};  // the second authority
    std::vector<std::string> resolvers;                // empty: the system's
    std::string https_address;                         // where the edge listens
    std::string roots_file = {};  // of authorities of uploaded certificates; empty: the
                                  // system's
  };
  // dns: where wildcards are proved; null: none is ordered.
  LocalDomainEngine(Config config, std::unique_ptr<domains::CertificateStore> store,
                    edge::Edge& edge, std::unique_ptr<domains::TxtBoard> dns = nullptr);

  [[nodiscard]] Result<actors::DomainName> name_of(const std::string& typed) const override;
  Result<pb::DnsObservation> look_up(const std::string& domain, const std::string& ownership_name,
                                     std::stop_token stop) override;
  actors::IssueResult order(const actors::CertificateJob& job, std::stop_token stop) override;
  actors::RenewalNews renewal_news(const std::string& fingerprint, const std::string& directory,
                                   std::stop_token stop) override;
  [[nodiscard]] bool gives_renewal_advice(const std::string& directory) const override;
  Result<std::string> change_account_key(const std::string& directory,
                                         std::stop_token stop) override;
  Result<pb::CertificateIssued> keep_upload(const std::string& domain,
                                            const actors::CertificateUpload& upload) override;
  Result<actors::PublishedCertificates> publish(
      const std::vector<actors::CertificateChoice>& table) override;
  Result<void> keep_only(const std::set<std::string>& fingerprints,
                         const std::set<EffectId>& unfinished) override;
  [[nodiscard]] std::vector<std::string> caa_identities(
      const std::string& directory) const override;
  [[nodiscard]] std::string describe() const override;

 private:
  struct Given {
    std::vector<actors::CertificateChoice> choices;
    std::vector<edge::HostCertificate> certificates;
  };
  struct Publishing {
    actors::PublishedCertificates done;
    std::vector<actors::CertificateChoice> in_place;  // the edge has them
    std::optional<Error> failed;                      // the first reason to try again
  };
  // Gives the edge what it has not; what it finds wrong is lost.
  [[nodiscard]] Result<void> give(const Given& given, const std::vector<std::string>& removed,
                                  Publishing& publishing);
  void prove(Publishing& publishing);

  const Config config_;
  std::unique_ptr<domains::CertificateStore> store_;
  edge::Edge& edge_;
  EdgeChallenges challenges_;
  const std::unique_ptr<domains::TxtBoard> dns_;
  domains::Issuer issuer_;
  std::atomic<std::uint64_t> publishes_begun_{0};
  std::mutex publish_mutex_;
  std::uint64_t published_ = 0;  // the newest call whose table the edge has
  // Host to the fingerprint that a handshake has been answered with since the edge was given it.
  std::map<std::string, std::string> proved_;
  std::mutex orders_mutex_;
  std::multiset<EffectId> orders_;  // under way
};

}  // namespace atlasflow::server
