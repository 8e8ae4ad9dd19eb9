// The local certificate authority: made on first start in ca_dir, constrained to names under the
// domain, it signs what the edge serves until a public CA does. Any thread; signing is const.
//
// Files: ca.key (P-256, PEM, mode 0600) and ca.pem (10 years). The key is written first, so a start
// that died in between is repeated; a certificate without its key is refused, as clients trust it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "edge/tls/certificate.hpp"

namespace atlasflow::edge {

class LocalCa {
 public:
  [[nodiscard]] static Result<LocalCa> open_or_create(const std::filesystem::path& ca_dir,
                                                      const std::string& domain);

  // A leaf with a key of its own, for these DNS names (about 0.2 ms).
  [[nodiscard]] Result<std::shared_ptr<const Certificate>> issue(
      const std::vector<std::string>& names) const;

  [[nodiscard]] const std::filesystem::path& certificate_path() const { return certificate_path_; }

 private:
  std::filesystem::path certificate_path_;
  KeyPtr key_;
  X509Ptr certificate_;
};

// What the workers choose from, for these hosts and with these certificates given. What the map
// before has of the local CA's is taken over until it is due.
[[nodiscard]] Result<std::shared_ptr<const CertificateMap>> certificates_for(
    const std::vector<std::string_view>& hosts, const LocalCa& ca, const std::string& domain,
    std::shared_ptr<const Certificates> given, std::shared_ptr<const Certificates> proofs,
    const CertificateMap* before);

}  // namespace atlasflow::edge
