#include "edge/tls/host_certificate.hpp"

#include <algorithm>
#include <string_view>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "http/guard.hpp"

namespace atlasflow::edge {
namespace {

// Far above what an ACME server gives, and what a field of a URL may have.
constexpr std::size_t k_challenge_bytes_max = 512;
constexpr std::string_view k_wildcard = "*.";

bool is_host(std::string_view host) {
  std::string normal;
  return http::normalise_host(host, normal) && normal == host;
}

// RFC 8555 section 8.1 and RFC 4648 section 5; a key authorization has one dot.
bool is_base64url(std::string_view text, std::string_view also = {}) {
  return !text.empty() && text.size() <= k_challenge_bytes_max &&
         std::all_of(text.begin(), text.end(), [&](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || also.find(static_cast<char>(c)) != also.npos;
         });
}

// Tried now rather than by every handshake.
bool can_be_shown(const Certificate& certificate) {
  static const SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  const SslPtr ssl(context ? SSL_new(context.get()) : nullptr);
  const bool can = ssl && SSL_use_cert_and_key(ssl.get(), certificate.leaf.get(),
                                               certificate.key.get(), nullptr, 1) == 1;
  ERR_clear_error();
  return can;
}

}  // namespace

Result<std::shared_ptr<const Certificate>> parse_certificate(const HostCertificate& given) {
  std::string_view host = given.host;
  const bool wildcard = host.starts_with(k_wildcard);
  if (wildcard) host.remove_prefix(k_wildcard.size());
  if (!is_host(host)) {
    return fail(ErrorCode::invalid_argument,
                "'" + given.host + "' is no host name in lower case without a port");
  }
  ATLAS_TRY(auto certificates, parse_certificates(given.chain_pem));
  auto made = std::make_shared<Certificate>();
  ATLAS_TRY(made->key, parse_private_key(given.key_pem));
  made->leaf = std::move(certificates.front());
  const bool matches = X509_check_private_key(made->leaf.get(), made->key.get()) == 1;
  ERR_clear_error();
  if (!matches) {
    return fail(ErrorCode::invalid_argument,
                "the certificate for " + given.host + " belongs to another key");
  }
  if (X509_check_host(made->leaf.get(), given.host.data(), given.host.size(), 0, nullptr) != 1) {
    return fail(ErrorCode::invalid_argument,
                "the certificate that was given for " + given.host + " does not name it");
  }
  if (certificate_fingerprint(made->leaf.get()) != given.fingerprint) {
    return fail(ErrorCode::invalid_argument, "the certificate for " + given.host +
                                                 " is not the one with fingerprint " +
                                                 given.fingerprint);
  }
  if (!can_be_shown(*made)) {
    return fail(ErrorCode::invalid_argument,
                "the certificate for " + given.host +
                    " is one that OpenSSL shows nobody: its key or its signature is too weak");
  }
  made->chain.reset(sk_X509_new_null());
  for (std::size_t i = 1; i < certificates.size(); ++i) {
    if (!made->chain || sk_X509_push(made->chain.get(), certificates[i].get()) == 0) {
      return fail(ErrorCode::internal, "no memory for a certificate's chain");
    }
    static_cast<void>(certificates[i].release());  // the stack's now
  }
  return made;
}

Result<void> check_challenge(const Challenge& challenge) {
  if (!is_host(challenge.host)) {
    return fail(ErrorCode::invalid_argument,
                "'" + challenge.host + "' is no host name in lower case without a port");
  }
  if (!is_base64url(challenge.token) || !is_base64url(challenge.key_authorization, ".")) {
    return fail(ErrorCode::invalid_argument,
                "the challenge for " + challenge.host + " has a token that is no base64url");
  }
  return {};
}

}  // namespace atlasflow::edge
