// Certificates by host name, as a TLS handshake needs them: parsed, immutable, shared by the
// workers.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include <openssl/ssl.h>

namespace atlasflow::edge {

template <auto Free>
struct OpensslFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;

struct Certificate {
  X509Ptr leaf;
  KeyPtr key;
  std::chrono::system_clock::time_point renew_at;
};

struct HostHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view host) const {
    return std::hash<std::string_view>{}(host);
  }
};
template <typename T>
using HostMap = std::unordered_map<std::string, T, HostHash, std::equal_to<>>;

// Immutable once published.
struct CertificateMap {
  std::string domain;
  std::shared_ptr<const Certificate> wildcard;        // *.domain and domain
  HostMap<std::shared_ptr<const Certificate>> exact;  // what the wildcard does not cover

  // For a normalised host: exact, else the wildcard for anything under the domain (it carries the
  // "no such deployment" page there), else nullptr: no certificate is ever shown for a foreign
  // name.
  [[nodiscard]] const Certificate* find(std::string_view host) const {
    if (const auto it = exact.find(host); it != exact.end()) return it->second.get();
    return is_under(host, domain) ? wildcard.get() : nullptr;
  }

  // Whether clients accept the wildcard for the host: one label, and no wildcard right under a TLD.
  [[nodiscard]] static bool wildcard_covers(std::string_view host, std::string_view domain) {
    if (host == domain) return true;
    if (!is_under(host, domain) || domain.find('.') == std::string_view::npos) return false;
    return host.find('.') == host.size() - domain.size() - 1;
  }
  [[nodiscard]] static bool is_under(std::string_view host, std::string_view domain) {
    return host == domain || (host.size() > domain.size() && host.ends_with(domain) &&
                              host[host.size() - domain.size() - 1] == '.');
  }
};

}  // namespace atlasflow::edge
