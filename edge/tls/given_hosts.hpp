// What single hosts were given by the control plane: certificates and challenges, as text for the
// process that comes next and parsed for the workers. Owned by the edge; any thread. The parsed
// form is replaced as a whole and never changed, so a snapshot shares it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "edge/routes/route_snapshot.hpp"
#include "edge/tls/host_certificate.hpp"

namespace atlasflow::edge {

class GivenHosts {
 public:
  explicit GivenHosts(std::size_t certificates_max) : certificates_max_(certificates_max) {}

  // All of it or nothing; edge.hpp has the errors and limits.
  [[nodiscard]] Result<void> change_certificates(const std::vector<HostCertificate>& shown,
                                                 const std::vector<std::string>& removed);
  [[nodiscard]] Result<void> set_challenges(const std::vector<Challenge>& challenges);

  [[nodiscard]] std::shared_ptr<const Certificates> parsed() const;
  [[nodiscard]] std::shared_ptr<const HostMap<ChallengeAnswers>> answers() const;
  [[nodiscard]] std::shared_ptr<const Certificates> proofs() const;  // of TLS-ALPN-01

  [[nodiscard]] std::map<std::string, std::string> in_force() const;  // host to fingerprint
  // When each host's certificate ends, in s since 1970.
  [[nodiscard]] std::vector<std::int64_t> ends_at_s() const;
  [[nodiscard]] std::vector<HostCertificate> certificates_behind(const std::string& after,
                                                                 std::size_t bytes_max) const;
  [[nodiscard]] std::vector<Challenge> challenges() const;

 private:
  const std::size_t certificates_max_;
  mutable std::mutex mutex_;
  std::map<std::string, HostCertificate> certificates_;
  std::vector<Challenge> challenges_;
  std::shared_ptr<const Certificates> parsed_ = std::make_shared<const Certificates>();
  std::shared_ptr<const HostMap<ChallengeAnswers>> answers_ =
      std::make_shared<const HostMap<ChallengeAnswers>>();
  std::shared_ptr<const Certificates> proofs_ = std::make_shared<const Certificates>();
};

// In the order of hosts, those behind `after`: as many as fit into so many bytes, at least one.
[[nodiscard]] std::vector<HostCertificate> page_of(
    const std::map<std::string, HostCertificate>& certificates, const std::string& after,
    std::size_t bytes_max);

}  // namespace atlasflow::edge
