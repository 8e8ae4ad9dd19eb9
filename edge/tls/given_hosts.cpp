#include "edge/tls/given_hosts.hpp"

#include <ctime>
#include <utility>

#include <openssl/asn1.h>

#include "edge/edge.hpp"
#include "edge/tls/alpn_proof.hpp"

namespace atlasflow::edge {

Result<void> GivenHosts::change_certificates(const std::vector<HostCertificate>& shown,
                                             const std::vector<std::string>& removed) {
  // Parsed before the lock: who asks must not wait for it.
  std::vector<std::shared_ptr<const Certificate>> parsed;
  parsed.reserve(shown.size());
  for (const HostCertificate& each : shown) {
    ATLAS_TRY(auto certificate, parse_certificate(each));
    parsed.push_back(std::move(certificate));
  }
  const std::lock_guard lock(mutex_);
  Certificates in_use = *parsed_;
  for (const std::string& host : removed) in_use.erase(host);
  for (std::size_t i = 0; i < shown.size(); ++i) {
    in_use.insert_or_assign(shown[i].host, std::move(parsed[i]));
  }
  if (in_use.size() > certificates_max_) {
    return fail(ErrorCode::unavailable, "one edge shows certificates for at most " +
                                            std::to_string(certificates_max_) + " hosts");
  }
  for (const std::string& host : removed) certificates_.erase(host);
  for (const HostCertificate& each : shown) certificates_.insert_or_assign(each.host, each);
  parsed_ = std::make_shared<const Certificates>(std::move(in_use));
  return {};
}

Result<void> GivenHosts::set_challenges(const std::vector<Challenge>& challenges) {
  if (challenges.size() > k_challenges_max) {
    return fail(ErrorCode::invalid_argument,
                "one edge answers at most " + std::to_string(k_challenges_max) + " challenges");
  }
  HostMap<ChallengeAnswers> answers;
  std::map<std::string, const Challenge*> in_tls;
  for (const Challenge& each : challenges) {
    ATLAS_TRYV(check_challenge(each));
    if (each.in_tls) {
      in_tls[each.host] = &each;
    } else {
      answers[each.host].insert_or_assign(each.token, each.key_authorization);
    }
  }
  Certificates proofs;
  for (const auto& [host, challenge] : in_tls) {
    ATLAS_TRY(auto proof, make_alpn_proof(host, challenge->key_authorization));
    proofs.emplace(host, std::move(proof));
  }
  const std::lock_guard lock(mutex_);
  proofs_ = std::make_shared<const Certificates>(std::move(proofs));
  challenges_ = challenges;
  answers_ = std::make_shared<const HostMap<ChallengeAnswers>>(std::move(answers));
  return {};
}

std::shared_ptr<const Certificates> GivenHosts::parsed() const {
  const std::lock_guard lock(mutex_);
  return parsed_;
}

std::shared_ptr<const HostMap<ChallengeAnswers>> GivenHosts::answers() const {
  const std::lock_guard lock(mutex_);
  return answers_;
}

std::shared_ptr<const Certificates> GivenHosts::proofs() const {
  const std::lock_guard lock(mutex_);
  return proofs_;
}

std::map<std::string, std::string> GivenHosts::in_force() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string> fingerprints;
  for (const auto& [host, certificate] : certificates_) {
    fingerprints.emplace(host, certificate.fingerprint);
  }
  return fingerprints;
}

std::vector<std::int64_t> GivenHosts::ends_at_s() const {
  const auto parsed = this->parsed();
  std::vector<std::int64_t> ends;
  ends.reserve(parsed->size());
  for (const auto& [host, certificate] : *parsed) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate->leaf.get()), &parts) != 1) continue;
    ends.push_back(static_cast<std::int64_t>(::timegm(&parts)));
  }
  return ends;
}

std::vector<HostCertificate> GivenHosts::certificates_behind(const std::string& after,
                                                             std::size_t bytes_max) const {
  const std::lock_guard lock(mutex_);
  return page_of(certificates_, after, bytes_max);
}

std::vector<Challenge> GivenHosts::challenges() const {
  const std::lock_guard lock(mutex_);
  return challenges_;
}

std::vector<HostCertificate> page_of(const std::map<std::string, HostCertificate>& certificates,
                                     const std::string& after, std::size_t bytes_max) {
  std::vector<HostCertificate> page;
  std::size_t bytes = 0;
  for (auto it = certificates.upper_bound(after); it != certificates.end(); ++it) {
    const HostCertificate& each = it->second;
    bytes +=
        each.host.size() + each.fingerprint.size() + each.chain_pem.size() + each.key_pem.size();
    if (!page.empty() && bytes > bytes_max) break;
    page.push_back(each);
  }
  return page;
}

}  // namespace atlasflow::edge
