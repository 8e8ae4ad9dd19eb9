// Name servers, a certificate authority, the store of keys and the edge's certificates, as the
// domain keeper sees them through the simulated network. One per life; one thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "sim/world/outside.hpp"

namespace atlasflow::sim {

// How long a certificate of the simulated authority lives: renewals come within a run.
inline constexpr TimestampUs k_certificate_life_us = 60'000'000LL * 10;

// The certificate authorities' directories.
inline constexpr const char* k_first_authority = "https://ca.example.test/directory";
inline constexpr const char* k_second_authority = "https://second.example.test/directory";
// How long the first one asks to be left alone while it has a limit: longer than a run.
inline constexpr TimestampUs k_authority_limit_us = 24 * 3600 * 1'000'000LL;

class OutsideDomains final : public actors::DomainEngine {
 public:
  explicit OutsideDomains(Outside& outside) : outside_(outside) {}

  [[nodiscard]] Result<actors::DomainName> name_of(const std::string& typed) const override;
  Result<pb::DnsObservation> look_up(const std::string& domain, const std::string& ownership_name,
                                     std::stop_token stop) override;
  actors::IssueResult order(const actors::CertificateJob& job, std::stop_token stop) override;
  // Its accounts are none of a run's.
  Result<std::string> change_account_key(const std::string& /*directory*/,
                                         std::stop_token /*stop*/) override {
    return fail(ErrorCode::conflict, "the simulated authority changes no account's key");
  }
  Result<pb::CertificateIssued> keep_upload(const std::string& domain,
                                            const actors::CertificateUpload& upload) override;
  Result<actors::PublishedCertificates> publish(
      const std::vector<actors::CertificateChoice>& table) override;
  Result<void> keep_only(const std::set<std::string>& fingerprints,
                         const std::set<EffectId>& unfinished) override;
  // The simulated authority renews by age only: it knows no RFC 9773, as many do not.
  actors::RenewalNews renewal_news(const std::string& /*fingerprint*/,
                                   const std::string& /*directory*/,
                                   std::stop_token /*stop*/) override {
    return {};
  }
  [[nodiscard]] bool gives_renewal_advice(const std::string& /*directory*/) const override {
    return false;
  }
  [[nodiscard]] std::vector<std::string> caa_identities(
      const std::string& /*directory*/) const override {
    return {};
  }
  [[nodiscard]] std::string describe() const override { return "simulated"; }

 private:
  [[nodiscard]] bool misfortune();
  [[nodiscard]] actors::IssueResult issue(const actors::CertificateJob& job);

  Outside& outside_;
  std::uint64_t publishes_begun_ = 0;
  std::uint64_t published_ = 0;  // the newest call whose table the edge has
};

}  // namespace atlasflow::sim
