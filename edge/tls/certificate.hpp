// Certificates by host name, as a TLS handshake needs them: parsed, immutable, shared by the
// workers.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include <openssl/ssl.h>

#include "base/x509.hpp"

namespace atlasflow::edge {

using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;

struct StackOfX509Free {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_pop_free(stack, X509_free); }
};
using ChainPtr = std::unique_ptr<STACK_OF(X509), StackOfX509Free>;

struct Certificate {
  X509Ptr leaf;
  KeyPtr key;
  ChainPtr chain = {};  // the issuers that are sent along; none when clients know the only one
  std::chrono::system_clock::time_point renew_at = {};
};

struct HostHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view host) const {
    return std::hash<std::string_view>{}(host);
  }
};
template <typename T>
using HostMap = std::unordered_map<std::string, T, HostHash, std::equal_to<>>;
using Certificates = HostMap<std::shared_ptr<const Certificate>>;

// Immutable once published.
struct CertificateMap {
  std::string domain;
  std::shared_ptr<const Certificates> given;        // by set_certificates; "*.parent" is a key too
  std::shared_ptr<const Certificates> proofs = {};  // for who offers acme-tls/1 only (RFC 8737)
  std::shared_ptr<const Certificate> wildcard;      // *.domain and domain, by the local CA
  Certificates exact;  // by the local CA: what the wildcard does not cover

  // For a normalised host: the one that was given for it, else the one for its parent's wildcard
  // (one label, RFC 6125 section 6.4.3), else the local CA's exact one, else its wildcard for
  // anything under the domain (it carries the "no such deployment" page there), else nullptr: no
  // certificate is ever shown for a foreign name.
  [[nodiscard]] const Certificate* find(std::string_view host) const {
    if (const Certificate* found = find_given(host)) return found;
    if (const auto it = exact.find(host); it != exact.end()) return it->second.get();
    return is_under(host, domain) ? wildcard.get() : nullptr;
  }

  // A handshake that a CA makes to prove who serves the host; nullptr: nobody has asked for that.
  [[nodiscard]] const Certificate* find_proof(std::string_view host) const {
    if (proofs == nullptr) return nullptr;
    const auto it = proofs->find(host);
    return it == proofs->end() ? nullptr : it->second.get();
  }

  [[nodiscard]] const Certificate* find_given(std::string_view host) const {
    if (given == nullptr || given->empty()) return nullptr;
    if (const auto it = given->find(host); it != given->end()) return it->second.get();
    const std::size_t dot = host.find('.');
    // What is no longer than a name may be fits beside the asterisk.
    constexpr std::size_t k_name_max = 253;
    if (dot == std::string_view::npos || host.size() > k_name_max) return nullptr;
    std::array<char, k_name_max + 1> pattern{'*'};
    const std::string_view parent = host.substr(dot);
    std::copy(parent.begin(), parent.end(), pattern.begin() + 1);
    const auto it = given->find(std::string_view(pattern.data(), 1 + parent.size()));
    return it == given->end() ? nullptr : it->second.get();
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
