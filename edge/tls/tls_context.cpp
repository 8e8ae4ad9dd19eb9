#include "edge/tls/tls_context.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <string>
#include <string_view>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "edge/tls/alpn_proof.hpp"
#include "http/guard.hpp"

namespace atlasflow::edge {
namespace {

constexpr std::string_view k_session_context = "atlasflow-edge";

// Of each connection that only a CA's proof is for.
int proof_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

bool is_for_proof(const SSL* ssl) { return SSL_get_ex_data(ssl, proof_index()) != nullptr; }

// Before everything else: which certificate is shown hangs on a protocol that OpenSSL looks at
// later. Nothing that a proof began is ever gone on with.
int look_at_hello(SSL* ssl, int* /*alert*/, void* /*argument*/) {
  const unsigned char* list = nullptr;
  std::size_t bytes = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &list,
                                &bytes) == 1 &&
      offers_acme_alone({reinterpret_cast<const char*>(list), bytes})) {
    SSL_set_ex_data(ssl, proof_index(), ssl);
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_set_num_tickets(ssl, 0);
  }
  return SSL_CLIENT_HELLO_SUCCESS;
}

// Called once per handshake, with or without a name in it. No name, or a foreign one: no
// certificate, so that nobody learns whose machine this is.
int choose_certificate(SSL* ssl, int* alert, void* argument) {
  *alert = SSL_AD_UNRECOGNIZED_NAME;
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  std::string host;
  if (name == nullptr || !http::normalise_host(name, host)) return SSL_TLSEXT_ERR_ALERT_FATAL;
  const CertificateMap* certificates = *static_cast<const CertificateMap* const*>(argument);
  const bool for_proof = is_for_proof(ssl);
  const Certificate* certificate = certificates == nullptr ? nullptr
                                   : for_proof             ? certificates->find_proof(host)
                                                           : certificates->find(host);
  if (for_proof) *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  if (certificate == nullptr) return SSL_TLSEXT_ERR_ALERT_FATAL;
  if (SSL_use_cert_and_key(ssl, certificate->leaf.get(), certificate->key.get(),
                           certificate->chain.get(), 1) != 1) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  return SSL_TLSEXT_ERR_OK;
}

// By our order, HTTP/2 first (RFC 7301 section 3.2). Who has come for a proof has offered nothing
// else, and its name has one.
int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_bytes,
                    const unsigned char* offered, unsigned offered_bytes, void*) {
  if (is_for_proof(ssl)) {
    *out = offered + 1;
    *out_bytes = offered[0];
    return SSL_TLSEXT_ERR_OK;
  }
  static constexpr std::array<std::string_view, 2> k_spoken = {"h2", "http/1.1"};
  for (const std::string_view spoken : k_spoken) {
    for (unsigned i = 0; i < offered_bytes; i += offered[i] + 1U) {
      const std::string_view name(reinterpret_cast<const char*>(offered) + i + 1, offered[i]);
      if (name != spoken) continue;
      *out = offered + i + 1;
      *out_bytes = offered[i];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol
}

// SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 to go on, 2 to give a new ticket as well, 0 for a full
// handshake, negative to end it.
int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
               EVP_MAC_CTX* mac, int seals) {
  auto& keys = *static_cast<TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  const std::int64_t now_s = std::time(nullptr);
  const TicketKey& current = keys.current(now_s);
  const TicketKey* key = seals != 0 ? &current : keys.find(name, now_s);
  if (key == nullptr) return 0;
  const EVP_CIPHER* kind = EVP_aes_256_cbc();
  if (seals != 0) {
    std::copy(key->name.begin(), key->name.end(), name);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(kind)) != 1) return -1;
  }
  std::string digest = "SHA256";
  std::array<OSSL_PARAM, 2> digest_of_mac = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  if (EVP_CipherInit_ex(cipher, kind, nullptr, key->cipher.data(), iv, seals) != 1 ||
      EVP_MAC_init(mac, key->mac.data(), key->mac.size(), digest_of_mac.data()) != 1) {
    return -1;
  }
  if (seals != 0) return 1;
  // With TLS 1.3 a client uses a ticket once (RFC 8446 appendix C.4).
  return key == &current && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}

}  // namespace

Result<SslContextPtr> make_tls_context(const CertificateMap* const* current,
                                       TicketKeys& ticket_keys) {
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* ctx = context.get();
  if (ctx == nullptr || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set1_groups_list(ctx, "X25519:P-256") != 1 ||
      SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
      SSL_CTX_set_session_id_context(
          ctx, reinterpret_cast<const unsigned char*>(k_session_context.data()),
          static_cast<unsigned>(k_session_context.size())) != 1 ||
      SSL_CTX_set_app_data(ctx, &ticket_keys) != 1 ||
      SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::internal, "cannot set TLS up; is OpenSSL 3 complete on this machine?");
  }
  SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                               SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);  // see TransportSocket::read_tls
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 1);
  SSL_CTX_set_timeout(ctx, k_ticket_lifetime_s);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_client_hello_cb(ctx, look_at_hello, nullptr);
  SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
  SSL_CTX_set_tlsext_servername_arg(ctx, const_cast<CertificateMap**>(current));
  SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, nullptr);
  return context;
}

}  // namespace atlasflow::edge
